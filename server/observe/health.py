"""Which services answer. Not what to do when one does not: see `availability`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from adapters.tasks import together

log = structlog.get_logger()

PING_TIMEOUT_S = 2.0
UNAVAILABLE_INTERVAL_S = 0.2
"""Nobody is served while a service is unavailable, so ping it often."""

FAILURES_UNTIL_UNAVAILABLE = 2
"""A single ping may get lost; two in a row rarely do."""


class Health:
    """Pings each service periodically and remembers which do not answer."""

    def __init__(self, pings: Mapping[str, Callable[[], Awaitable[object]]], *, interval_s: float):
        self._pings = pings
        self._interval_s = interval_s
        # Nothing has answered yet.
        self._failures = dict.fromkeys(pings, FAILURES_UNTIL_UNAVAILABLE)
        self._unavailable: tuple[str, ...] = tuple(pings)

    @property
    def unavailable(self) -> tuple[str, ...]:
        """The services that do not answer."""
        return self._unavailable

    @property
    def answers(self) -> dict[str, bool]:
        """Whether each service answers, by name."""
        return {name: name not in self._unavailable for name in self._pings}

    async def run(self) -> None:
        """Ping until cancelled."""
        await together(*(self._watch(name) for name in self._pings))

    async def _watch(self, name: str) -> None:
        while True:
            error = await self._failure(name)
            self._failures[name] = 0 if error is None else self._failures[name] + 1
            before = name in self._unavailable
            self._unavailable = tuple(
                part
                for part, count in self._failures.items()
                if count >= FAILURES_UNTIL_UNAVAILABLE
            )
            if before and name not in self._unavailable:
                log.info("service_reached", service=name)
            elif not before and name in self._unavailable:
                log.warning("service_unavailable", service=name, error=type(error).__name__)
            unavailable = name in self._unavailable
            await asyncio.sleep(
                min(UNAVAILABLE_INTERVAL_S, self._interval_s) if unavailable else self._interval_s
            )

    async def _failure(self, name: str) -> Exception | None:
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self._pings[name]()
        except Exception as error:
            # Any kind of failure to answer counts.
            return error
        return None
