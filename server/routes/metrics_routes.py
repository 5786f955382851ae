"""`GET /metrics` for Prometheus and `GET /admin/stats` for the operator's page.

Open to everyone by default, since they expose counts only: what tells of the machine (memory, file
descriptors, start time, Python's version) needs a token with `scores:operate`, and with
SCOREBOARD_METRICS_OPEN=false everything does.
"""

from collections.abc import Callable, Sequence

from sanic.request import Request
from sanic.response import HTTPResponse

from adapters.health import Health
from adapters.redis import Redis
from scoreboard import contract
from scoreboard.errors import FORBIDDEN, Problem
from scoreboard.tokens import SCOPE_OPERATE, Principal
from server.availability import Availability
from server.http.fast_path import FastPath
from server.http.responses import NOT_STORED, json_response
from server.http.routing import Route
from server.observe.metrics import CONTENT_TYPE, Gauges, Metrics, Source
from server.settings import ServerSettings
from server.stream.hub import Hub
from server.submit.backlog import Backlog
from server.submit.commit import Committer

METRICS_PATH = "/metrics"
STATS_PATH = "/admin/stats"


class MetricsRoutes:
    """The handlers."""

    def __init__(
        self, metrics: Metrics, *, open_to_all: bool, principal: Callable[[Request], Principal]
    ) -> None:
        self._metrics = metrics
        self._open_to_all = open_to_all
        self._principal = principal

    def routes(self) -> Sequence[Route]:
        """Their addresses."""
        return (
            Route("GET", METRICS_PATH, "metrics", self.get_metrics),
            Route("GET", STATS_PATH, "stats", self.get_stats),
        )

    async def get_metrics(self, request: Request) -> HTTPResponse:
        """This process's metrics in Prometheus' text format."""
        machine = self._is_operator(request)
        return HTTPResponse(
            await self._metrics.exposition(machine=machine),
            headers=NOT_STORED,
            content_type=CONTENT_TYPE,
        )

    async def get_stats(self, request: Request) -> HTTPResponse:
        """The same metrics as JSON."""
        self._is_operator(request)
        return json_response(await self._metrics.stats(), NOT_STORED)

    def _is_operator(self, request: Request) -> bool:
        """Whether an operator's token came with it; refuses the request if one must and did not."""
        if self._open_to_all and "authorization" not in request.headers:
            return False
        operator = SCOPE_OPERATE in self._principal(request).scopes
        if not operator and not self._open_to_all:
            raise Problem(FORBIDDEN, "This token may not see the metrics.")
        return operator


def metrics_of(
    settings: ServerSettings,
    committer: Committer,
    hub: Hub,
    health: Health,
    redis: Redis,
    availability: Availability,
    fast_path: FastPath,
    backlog: Backlog,
) -> Metrics:
    """The metrics of these parts."""

    def gauges() -> Gauges:
        return Gauges(
            queue=committer.waiting,
            queue_max=settings.queue_max,
            batches_unfinished=len(committer.window),
            batches_unfinished_max=committer.window.maximum,
            listeners=len(hub),
            listeners_max=settings.listeners_max,
            listeners_lagging=hub.lagging,
            hub_seq=hub.cursor,
            undecided_age_s=round(backlog.oldest_s, 3),
            queue_polled=backlog.polled,
        )

    async def board_seq() -> int:
        found = await redis.hget(contract.META_KEY, "seq")
        if found is None:
            raise LookupError("Redis has no board")
        return int(found)

    return Metrics(
        Source(
            commits=committer.counts,
            hub=hub.counts,
            gauges=gauges,
            services=lambda: health.answers,
            board_seq=board_seq,
            draining=lambda: availability.draining,
            fast_path=lambda: fast_path.answered,
        )
    )
