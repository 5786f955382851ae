"""How often the listeners are written to. Pure.

A write to one listener costs 5 to 9 microseconds whatever it carries, so the
writes per second are what is bounded: changes that arrive within a tick share
one. The first change after a quiet time never waits.
"""

CALM_WRITES_PER_S = 10_000
"""Up to here (under a tenth of a core) a shorter tick is worth its writes."""

MAX_WRITES_PER_S = 64_000
"""About half a core. Beyond it the tick grows past its usual maximum."""

MAX_SHARE = 2 / 3
"""Of the process's time, for writing to listeners: on a machine that is short of CPU a
broadcast takes longer, and requests must not wait for one after the other."""


def flush_interval_s(listeners: int, usual_max_s: float, took_s: float) -> float:
    """Least seconds from the start of one write to all of `listeners` to the next.

    Grows with their number up to `usual_max_s`, stays there up to 6,400 of
    them at 0.1 s, and grows on after that; also with the time that the last one
    took.
    """
    return max(
        min(listeners / CALM_WRITES_PER_S, usual_max_s),
        listeners / MAX_WRITES_PER_S,
        took_s / MAX_SHARE,
    )
