"""One clock for all histories of a run: the coordinator's monotonic one. Not a measurement of lag.

Monotonic clocks count from each machine's start, so those of two machines have
nothing in common but their distance from the wall clock.
"""

import time
from pathlib import Path
from typing import NamedTuple

BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")


class Clock(NamedTuple):
    """A machine's monotonic clock: which start it counts from, and where the wall clock is."""

    boot: str
    unix_minus_monotonic_ns: int


def this_clock() -> Clock:
    """The clock of this machine; containers share their machine's."""
    return Clock(BOOT_FILE.read_text("utf-8").strip(), time.time_ns() - time.monotonic_ns())


def shift_ns(here: Clock, there: Clock) -> int:
    """What turns a monotonic time of `here` into one of `there`: 0 on the same machine.

    Between machines as exact as their wall clocks agree.
    """
    if here.boot == there.boot:
        return 0
    return here.unix_minus_monotonic_ns - there.unix_minus_monotonic_ns
