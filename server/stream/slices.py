"""How long writing to listeners may hold the event loop, and when it goes on. Not what is written.

One change for a thousand listeners is ten milliseconds of writes, and each step of a submission
waits for a turn of the same loop. So the writes are done in slices, and between two of them
everything else that is ready runs.
"""

import asyncio
from collections.abc import Callable

SLICE_S = 0.001
LISTENERS_PER_LOOK = 16
"""Written to between two looks at the clock: a tenth of a slice."""

OTHERS_MAX_S = 0.002
"""After each slice others get at most twice as much, so that listeners never starve."""

QUIET_TURN_S = 0.0001
"""A turn of the loop that is over so soon found nothing else to do."""


class Slices:
    """The slices of one piece of work. `took_s` is its own time, without that of others."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._earlier_s = 0.0

    @property
    def took_s(self) -> float:
        """Seconds spent so far in slices."""
        return self._earlier_s + self._clock() - self._began

    @property
    def over(self) -> bool:
        """Whether others are to have a turn."""
        return self._clock() - self._began >= SLICE_S

    async def give_way(self) -> None:
        """Let others run until they have nothing to do, or have had their share."""
        now = self._clock()
        self._earlier_s += now - self._began
        until = now + OTHERS_MAX_S
        while True:
            turn_began = now
            await asyncio.sleep(0)
            now = self._clock()
            if now - turn_began < QUIET_TURN_S or now >= until:
                break
        self._began = now
