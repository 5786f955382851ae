"""Whether this machine's clock agrees with those of Redis and MySQL.

Tokens, signatures and the time of a commit are judged by the wall clock: a process that is minutes
behind refuses every fresh token. Nobody's clock is believed alone: a process is wrong when both
stores say so and agree with each other.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

import structlog

from adapters.reasons import reason_of
from adapters.redis import Redis, clock

log = structlog.get_logger()

CLOCK_DIFFERENCE_MAX_S = 4.0
"""Below the five seconds that the times in tokens are allowed to be off."""

CHECK_INTERVAL_S = 5.0
ASK_TIMEOUT_S = 1.0

AskTime = Callable[[], Awaitable[float]]
"""Seconds since the Unix epoch by a service's clock."""


CLOCK = "clock"
"""The check's name among the services, in `/readyz`, metrics and logs."""


class HasClock(Protocol):
    """A store in MySQL."""

    async def clock(self) -> float:
        """The server's time."""


def clocks(redis: Redis, ledger: HasClock) -> Mapping[str, AskTime]:
    """Whose clocks are compared."""
    return {"Redis": partial(clock, redis), "MySQL": ledger.clock}


class ClockDiffers(Exception):
    """This machine's clock is wrong; the message says by how much."""


def now() -> float:
    """This machine's wall clock."""
    return time.time()


def fault(offsets: Mapping[str, float | None]) -> str | None:
    """Why this machine's clock is wrong, from how far others are ahead of it (None: unknown).

    None when it is not, or when they do not tell: at least two must be off, the same way and by
    about the same.
    """
    known = [offset for offset in offsets.values() if offset is not None]
    if len(known) < 2 or len(known) < len(offsets):
        return None
    low, high = min(known), max(known)
    off_s = low if low > 0 else high
    agree = low * high > 0 and high - low <= CLOCK_DIFFERENCE_MAX_S
    if not agree or abs(off_s) <= CLOCK_DIFFERENCE_MAX_S:
        return None
    which = "behind" if off_s > 0 else "ahead of"
    return f"this machine's clock is {abs(off_s):.0f} s {which} those of {' and '.join(offsets)}"


class ClockCheck:
    """Asks every five seconds; between, the last answer holds."""

    def __init__(self, clocks: Mapping[str, AskTime]) -> None:
        self._clocks = clocks
        self._fault: str | None = None
        self._checked_at = float("-inf")
        self._logged: frozenset[str] = frozenset()

    async def check(self) -> None:
        """Raises ClockDiffers."""
        if time.monotonic() - self._checked_at >= CHECK_INTERVAL_S:
            asked = await asyncio.gather(*(self._offset(ask) for ask in self._clocks.values()))
            offsets = dict(zip(self._clocks, asked, strict=True))
            self._checked_at = time.monotonic()
            self._fault = fault(offsets)
            self._tell(offsets)
        if self._fault:
            raise ClockDiffers(self._fault)

    async def _offset(self, ask: AskTime) -> float | None:
        """How far a clock is ahead of ours, at least: an answer that took long tells little."""
        began, before = time.monotonic(), now()
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                theirs = await ask()
        except Exception as error:
            # Whether the service works is another check's.
            log.debug("clock_unknown", error=reason_of(error))
            return None
        took = time.monotonic() - began
        offset = theirs - (before + took / 2)
        slack = took / 2
        return max(0.0, offset - slack) if offset > 0 else min(0.0, offset + slack)

    def _tell(self, offsets: Mapping[str, float | None]) -> None:
        """A service whose clock is off alone is logged once: it is that one's to mend."""
        off = frozenset(
            name
            for name, offset in offsets.items()
            if offset is not None and abs(offset) > CLOCK_DIFFERENCE_MAX_S
        )
        if self._fault is None:
            for name in off - self._logged:
                log.warning("clock_differs", service=name, ahead_s=round(offsets[name] or 0, 1))
        self._logged = off
