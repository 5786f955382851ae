"""Counters that the parts of an API process keep. Plain integers, since every request and every
write passes them. Not how they are exposed: see `metrics`.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Histogram:
    """Observations by bucket: `counts[i]` counts those up to `bounds[i]`, the last all larger."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation; under a microsecond."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True, eq=False)
class CommitCounts:
    """Submissions by their answer, and the batches that carried them."""

    accepted: int = 0
    replayed: int = 0
    rate_limited: int = 0
    key_reused: int = 0
    unknown_user: int = 0
    overloaded: int = 0
    unavailable: int = 0
    batches_started: int = 0
    batch_size: Histogram = field(default_factory=lambda: Histogram(SIZES))
    admission_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    start_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))


@dataclass(slots=True, eq=False)
class HubCounts:
    """Writes to the listeners. A delivery is one change written to one listener."""

    ticks: int = 0
    bytes: int = 0
    deliveries: int = 0
    resets: int = 0
    listeners_opened: int = 0
    slow_listeners_disconnected: int = 0
    # From the oldest change of a write, by two machines' clocks.
    commit_to_write_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
