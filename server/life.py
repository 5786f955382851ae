"""Start, drain and close of the application. Not which parts there are: see `app`."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import structlog
from sanic import Sanic

from adapters.tasks import end
from server.availability import Availability
from server.stream.hub import Hub
from server.submit.batch_starter import BatchStarter
from server.submit.commit import Committer

log = structlog.get_logger()

READY_INTERVAL_S = 0.02

Background = Callable[[], Coroutine[Any, Any, None]]
"""A part that runs from start to close and recovers from outages by itself."""


class Life:
    """The parts' common life, hooked to Sanic's server events."""

    def __init__(
        self,
        *,
        availability: Availability,
        committer: Committer,
        hub: Hub,
        starter: BatchStarter,
        background: Sequence[Background],
        closing: Sequence[Callable[[], Awaitable[object]]],
        drain_notice_s: float,
        drain_timeout_s: float,
    ) -> None:
        self._availability = availability
        self._committer = committer
        self._hub = hub
        self._starter = starter
        self._background = background
        self._closing = closing
        self._drain_notice_s = drain_notice_s
        self._drain_timeout_s = drain_timeout_s
        self._leaving = False
        self._tasks: list[asyncio.Task[None]] = []
        self.failed = asyncio.Event()
        """Set when the application cannot go on; its process should end."""

    def attach(self, app: Sanic[Any, Any]) -> None:
        """Let the application's server call start, drain and close."""
        app.before_server_start(self.start)
        app.before_server_stop(self.drain)
        app.after_server_stop(self.close)

    async def start(self, _app: Sanic[Any, Any]) -> None:
        """Let every part connect and run in the background."""
        for run in (self._starter.run, *self._background):
            task = asyncio.create_task(run())
            task.add_done_callback(self._part_ended)
            self._tasks.append(task)

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Return once this process can take work, or after `timeout_s`."""
        for _ in range(int(timeout_s / READY_INTERVAL_S)):
            if not self._availability.missing:
                return
            await asyncio.sleep(READY_INTERVAL_S)
        log.warning("not_ready_yet", missing=self._availability.missing)

    async def drain(self, _app: Sanic[Any, Any]) -> None:
        """Refuse new work, answer queued submissions and end the streams cleanly."""
        self._availability.draining = True
        log.info("draining", waiting=self._committer.waiting, listeners=len(self._hub))
        # Readiness fails first: load balancers have this long to notice.
        await asyncio.sleep(self._drain_notice_s)
        self._availability.refusing = True
        await self._committer.close(self._drain_timeout_s / 2)
        await self._hub.drain(self._drain_timeout_s / 2)

    async def close(self, _app: Sanic[Any, Any]) -> None:
        """End the embedded worker and every part, then close every connection."""
        self._leaving = True
        starting, *parts = self._tasks
        await self._starter.leave(starting)
        await end(parts)
        for close in self._closing:
            await close()

    def _part_ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (self._leaving and task.exception() is None):
            return
        log.error("part_failed", exc_info=task.exception())
        self.failed.set()
