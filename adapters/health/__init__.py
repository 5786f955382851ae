"""Which services can do this process's work. Not what to do when one cannot."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Container, Mapping

import structlog

from adapters.reasons import reason_of
from adapters.tasks import together

log = structlog.get_logger()

PING_TIMEOUT_S = 2.0
UNAVAILABLE_INTERVAL_S = 0.2
"""Nobody is served while a service is unavailable, so ping it often."""

FAILURES_UNTIL_UNAVAILABLE = 2
"""A single ping may get lost; two in a row rarely do."""

START_PATIENCE_S = 3.0
"""A service that has not been reached since the start is logged after this."""


class Health:
    """Pings each service periodically and remembers which fail.

    A service counts as away until it has answered, but for those of `trusted`.
    """

    def __init__(
        self,
        pings: Mapping[str, Callable[[], Awaitable[object]]],
        *,
        interval_s: float,
        trusted: Container[str] = (),
    ):
        self._pings = pings
        self._interval_s = interval_s
        self._failures = {
            name: 0 if name in trusted else FAILURES_UNTIL_UNAVAILABLE for name in pings
        }
        self._unavailable: tuple[str, ...] = tuple(n for n in pings if n not in trusted)

    @property
    def unavailable(self) -> tuple[str, ...]:
        """The services that fail."""
        return self._unavailable

    @property
    def answers(self) -> dict[str, bool]:
        """Whether each service can do the work, by name."""
        return {name: name not in self._unavailable for name in self._pings}

    async def run(self) -> None:
        """Ping until cancelled."""
        await together(*(self._watch(name) for name in self._pings))

    async def _watch(self, name: str) -> None:
        logged = ""
        # Not the reasons of every start: connecting takes a moment.
        quiet_until = time.monotonic() + START_PATIENCE_S
        while True:
            error = await self._failure(name)
            self._failures[name] = 0 if error is None else self._failures[name] + 1
            before = name in self._unavailable
            self._unavailable = tuple(
                part
                for part, count in self._failures.items()
                if count >= FAILURES_UNTIL_UNAVAILABLE
            )
            unavailable = name in self._unavailable
            if before and not unavailable:
                log.info("service_reached", service=name)
                logged, quiet_until = "", 0.0
            elif unavailable and error is not None and time.monotonic() >= quiet_until:
                # Once, and again when it fails for another reason.
                reason = reason_of(error)
                if reason != logged:
                    log.warning("service_unavailable", service=name, error=reason)
                logged = reason
            await asyncio.sleep(
                min(UNAVAILABLE_INTERVAL_S, self._interval_s) if unavailable else self._interval_s
            )

    async def _failure(self, name: str) -> Exception | None:
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self._pings[name]()
        except Exception as error:
            # Any kind of failure counts.
            return error
        return None
