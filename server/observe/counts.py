"""Counters that the parts of an API process keep. Plain integers, since every request and every
write passes them. Not how they are exposed: see `metrics`.
"""

from bisect import bisect_left
from collections.abc import Sequence

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


class CommitCounts:
    """Submissions by their answer, and the batches that carried them."""

    __slots__ = (
        "accepted",
        "admission_s",
        "batch_size",
        "batches_started",
        "key_reused",
        "overloaded",
        "rate_limited",
        "replayed",
        "start_s",
        "unavailable",
    )

    def __init__(self) -> None:
        self.accepted = 0
        self.replayed = 0
        self.rate_limited = 0
        self.key_reused = 0
        self.overloaded = 0
        self.unavailable = 0
        self.batches_started = 0
        self.batch_size = Histogram(SIZES)
        self.admission_s = Histogram(SECONDS)
        self.start_s = Histogram(SECONDS)


class HubCounts:
    """Writes to the listeners. A delivery is one change written to one listener."""

    __slots__ = (
        "bytes",
        "commit_to_write_s",
        "deliveries",
        "listeners_opened",
        "resets",
        "slow_listeners_disconnected",
        "ticks",
    )

    def __init__(self) -> None:
        self.ticks = 0
        self.bytes = 0
        self.deliveries = 0
        self.resets = 0
        self.listeners_opened = 0
        self.slow_listeners_disconnected = 0
        # From the oldest change of a write, by two machines' clocks.
        self.commit_to_write_s = Histogram(SECONDS)
