"""`GET /metrics` for Prometheus and `GET /admin/stats` for the operator's page.

Open to everyone by default, since they tell counts only; with
SCOREBOARD_METRICS_OPEN=false only to tokens with `scores:operate`.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

from adapters.redis import Redis
from scoreboard import contract
from scoreboard.errors import FORBIDDEN, Problem
from scoreboard.tokens import SCOPE_OPERATE, Principal
from server.observe.health import Health
from server.observe.metrics import CONTENT_TYPE, Gauges, Metrics, Source
from server.settings import ServerSettings
from server.stream.hub import Hub
from server.submit.commit import Committer
from server.submit.inflight_window import InflightWindow

METRICS_PATH = "/metrics"
STATS_PATH = "/admin/stats"
_NOT_KEPT = {"cache-control": "no-store"}


class Figures:
    """The handlers; `watch` says what they show."""

    def __init__(self, settings: ServerSettings, principal: Callable[[Request], Principal]) -> None:
        self._settings = settings
        self._principal = principal
        self._metrics: Metrics | None = None

    def add_routes(self, app: Sanic[Any, Any]) -> None:
        """Answer at METRICS_PATH and STATS_PATH."""
        app.add_route(self.get_metrics, METRICS_PATH, methods=["GET"], name="metrics")
        app.add_route(self.get_stats, STATS_PATH, methods=["GET"], name="stats")

    def watch(
        self,
        *,
        committer: Committer,
        window: InflightWindow,
        hub: Hub,
        health: Health,
        redis: Redis,
        draining: Callable[[], bool],
    ) -> None:
        """Show these parts from now on."""
        settings = self._settings

        def gauges() -> Gauges:
            return Gauges(
                queue=committer.waiting,
                queue_max=settings.queue_max,
                batches_unfinished=len(window),
                batches_unfinished_max=window.maximum,
                listeners=len(hub),
                listeners_max=settings.listeners_max,
                listeners_lagging=hub.lagging,
                hub_seq=hub.cursor,
            )

        async def board_seq() -> int:
            found = await redis.hget(contract.META_KEY, "seq")
            if found is None:
                raise LookupError("Redis has no board")
            return int(found)

        self._metrics = Metrics(
            Source(
                commits=committer.counts,
                hub=hub.counts,
                gauges=gauges,
                services=lambda: health.answers,
                board_seq=board_seq,
                draining=draining,
            )
        )

    async def get_metrics(self, request: Request) -> HTTPResponse:
        """The figures of this process in Prometheus' text format."""
        metrics = self._shown_to(request)
        return HTTPResponse(
            await metrics.exposition(), headers=_NOT_KEPT, content_type=CONTENT_TYPE
        )

    async def get_stats(self, request: Request) -> HTTPResponse:
        """The same as JSON."""
        metrics = self._shown_to(request)
        return HTTPResponse(
            msgspec.json.encode(await metrics.stats()),
            headers=_NOT_KEPT,
            content_type="application/json",
        )

    def _shown_to(self, request: Request) -> Metrics:
        """The figures. Raises Problem when the request may not see them."""
        if not self._settings.metrics_open and (
            SCOPE_OPERATE not in self._principal(request).scopes
        ):
            raise Problem(FORBIDDEN, "This token may not see the figures.")
        assert self._metrics is not None, "requests come after the start"
        return self._metrics
