"""How often the hub writes to its listeners. Pure.

A write to one listener costs 5 to 9 microseconds whatever its size, so the writes per
second are bounded: changes within a flush interval share one write. The first change
after a quiet time never waits.
"""

CALM_WRITES_PER_S = 10_000
"""Up to here (under a tenth of a core) a shorter interval is worth its writes."""

MAX_WRITES_PER_S = 64_000
"""About half a core. Beyond it the interval grows past its usual maximum."""

MAX_SHARE = 2 / 3
"""Upper bound of the process's time spent on writing to listeners: when CPU is short a
broadcast takes longer, and requests must not wait for one after another."""


def flush_interval_s(listeners: int, usual_max_s: float, took_s: float) -> float:
    """Minimum seconds from the start of one write to all `listeners` to the next.

    Grows with their number up to `usual_max_s`, stays there (up to 6,400 listeners at
    0.1 s), then grows again; also grows with the duration of the last write.
    """
    return max(
        min(listeners / CALM_WRITES_PER_S, usual_max_s),
        listeners / MAX_WRITES_PER_S,
        took_s / MAX_SHARE,
    )
