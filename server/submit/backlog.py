"""What was accepted and is not decided: how old it is, and whether a worker is there to decide.

Neither makes a process unready: what is accepted is durable and waits. Both are metrics with an
alert. Not what is under way from this process alone: see `inflight_window`.
"""

import asyncio
from collections.abc import Callable

import structlog

from adapters.reasons import reason_of
from adapters.temporal import TEMPORAL_ERRORS
from server.backends.temporal import Workflows
from server.submit.inflight_window import InflightWindow

log = structlog.get_logger()

INTERVAL_S = 5.0
OLD_S = 30.0
"""A healthy batch takes milliseconds; a repeated step, some seconds."""


class Backlog:
    """Looked at in Temporal every few seconds."""

    def __init__(
        self,
        window: InflightWindow,
        workflows: Callable[[], Workflows | None],
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._window = window
        self._workflows = workflows
        self._interval_s = interval_s
        self._oldest_s = 0.0
        self.polled: bool | None = None
        """Whether a worker takes work from the queue; None when Temporal does not say."""
        self._logged = {"undecided": False, "unpolled": False, "unknown": False}

    @property
    def oldest_s(self) -> float:
        """Age of the oldest accepted submission that is not decided, of any process when it is
        older than OLD_S."""
        return max(self._oldest_s, self._window.oldest_s())

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            workflows = self._workflows()
            if workflows is not None:
                await self._look(workflows)
            await asyncio.sleep(self._interval_s)

    async def _look(self, workflows: Workflows) -> None:
        try:
            self._oldest_s = await workflows.oldest_batch_age_s(OLD_S)
            self.polled = workflows.polled
        except TEMPORAL_ERRORS as error:
            self._oldest_s, self.polled = 0.0, None
            if self._changes("unknown", now=True):
                log.warning("backlog_unknown", error=reason_of(error))
            return
        self._changes("unknown", now=False)
        if self._changes("unpolled", now=self.polled is False):
            if self.polled is False:
                log.warning("queue_not_polled", hint="no worker runs: accepted work waits")
            else:
                log.info("queue_polled")
        if self._changes("undecided", now=self.oldest_s > OLD_S):
            if self.oldest_s > OLD_S:
                log.warning("submissions_undecided", oldest_s=round(self.oldest_s))
            else:
                log.info("submissions_decided_again")

    def _changes(self, what: str, *, now: bool) -> bool:
        before, self._logged[what] = self._logged[what], now
        return before != now
