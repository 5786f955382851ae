"""Which services answer. Not what to do about it: see the handlers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from adapters.tasks import together

log = structlog.get_logger()

PING_TIMEOUT_S = 2.0
AWAY_INTERVAL_S = 0.2
"""Nobody is served while a service is away, so look for it often."""

FAILURES_UNTIL_AWAY = 2
"""One ping may get lost; a second one in a row says more."""


class Health:
    """Pings each service again and again and remembers which do not answer."""

    def __init__(self, pings: Mapping[str, Callable[[], Awaitable[object]]], *, interval_s: float):
        self._pings = pings
        self._interval_s = interval_s
        # Nothing has answered yet, so everything is away.
        self._failures = dict.fromkeys(pings, FAILURES_UNTIL_AWAY)
        self._away: tuple[str, ...] = tuple(pings)

    @property
    def away(self) -> tuple[str, ...]:
        """The services that do not answer."""
        return self._away

    @property
    def answers(self) -> dict[str, bool]:
        """Whether each service answers, by name."""
        return {name: name not in self._away for name in self._pings}

    async def run(self) -> None:
        """Ping until cancelled."""
        await together(*(self._watch(name) for name in self._pings))

    async def _watch(self, name: str) -> None:
        while True:
            error = await self._failure(name)
            self._failures[name] = 0 if error is None else self._failures[name] + 1
            before = name in self._away
            self._away = tuple(
                part for part, count in self._failures.items() if count >= FAILURES_UNTIL_AWAY
            )
            if before and name not in self._away:
                log.info("service_reached", service=name)
            elif not before and name in self._away:
                log.warning("service_away", service=name, error=type(error).__name__)
            away = name in self._away
            await asyncio.sleep(
                min(AWAY_INTERVAL_S, self._interval_s) if away else self._interval_s
            )

    async def _failure(self, name: str) -> Exception | None:
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self._pings[name]()
        except Exception as error:
            # Any failure to answer, whatever its kind, is what this is for.
            return error
        return None
