"""Counts of durations in microseconds, mergeable without loss. Not a time series.

The buckets are those of HdrHistogram with three significant digits (Gil Tene,
hdrhistogram.org): exact to 2,047 µs, then within 0.1 %. Only buckets that hold
something are kept, so a histogram of one second is small enough to be sent in
every worker report, and percentiles over workers are those of the union.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

HALF_BITS = 10
MAX_US = 3_600_000_000
"""One hour. A longer duration counts as one hour."""
MIN_SAMPLES_BEYOND = 10
"""Samples that must lie beyond a percentile before it is worth a name."""


def bucket_of(value_us: int) -> int:
    """The index of the bucket that holds `value_us`, 0 <= value_us <= MAX_US."""
    shift = value_us.bit_length() - (HALF_BITS + 1)
    return value_us if shift <= 0 else (shift << HALF_BITS) + (value_us >> shift)


def lowest_of(bucket: int) -> int:
    """The least value in µs that falls into the bucket."""
    shift = (bucket >> HALF_BITS) - 1
    return bucket if shift <= 0 else (bucket - (shift << HALF_BITS)) << shift


def highest_of(bucket: int) -> int:
    """The greatest value in µs that falls into the bucket."""
    return lowest_of(bucket + 1) - 1


def buckets_of(values_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`bucket_of` for many values at once."""
    values = np.clip(values_us, 0, MAX_US)
    # float64 holds every integer up to MAX_US exactly, so the exponent is the bit length.
    bits = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    shift = np.maximum(bits - (HALF_BITS + 1), 0)
    return np.asarray((shift << HALF_BITS) + (values >> shift), dtype=np.int64)


class Histogram:
    """A multiset of durations. `counts` maps bucket to count, `total` is their sum."""

    __slots__ = ("counts", "max_us", "min_us", "sum_us", "total")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0
        self.sum_us = 0
        self.min_us = MAX_US
        self.max_us = 0

    def record(self, value_us: int, count: int = 1) -> None:
        """Add one duration `count` times; below 0 counts as 0, above MAX_US as MAX_US. 0.4 µs."""
        if value_us < 0:
            value_us = 0
        elif value_us > MAX_US:
            value_us = MAX_US
        shift = value_us.bit_length() - 11
        bucket = value_us if shift <= 0 else (shift << 10) + (value_us >> shift)
        counts = self.counts
        counts[bucket] = counts.get(bucket, 0) + count
        self.total += count
        self.sum_us += value_us * count
        if value_us > self.max_us:
            self.max_us = value_us
        if value_us < self.min_us:
            self.min_us = value_us

    def record_many(self, values_us: npt.NDArray[np.int64]) -> None:
        """Add many durations. About 20 ns each, beside 50 µs per call."""
        self.record_differences(values_us, np.zeros(1, np.int64), np.ones(1, np.int64))

    def record_differences(
        self,
        ends_us: npt.NDArray[np.int64],
        starts_us: npt.NDArray[np.int64],
        weights: npt.NDArray[np.int64],
    ) -> None:
        """Add every end minus every start, each as often as the start's weight says."""
        if ends_us.size == 0 or starts_us.size == 0:
            return
        values = np.clip(ends_us[np.newaxis, :] - starts_us[:, np.newaxis], 0, MAX_US)
        spread = np.repeat(weights, ends_us.size)
        # Doubles hold these counts exactly: they stay far below 2**53.
        counts = np.bincount(buckets_of(values).ravel(), weights=spread)
        filled = np.flatnonzero(counts)
        mine = self.counts
        for bucket, count in zip(
            filled.tolist(), counts[filled].astype(np.int64).tolist(), strict=True
        ):
            mine[bucket] = mine.get(bucket, 0) + count
        self.total += int(spread.sum())
        self.sum_us += int((values.sum(axis=1) * weights).sum())
        self.max_us = max(self.max_us, int(values.max()))
        self.min_us = min(self.min_us, int(values.min()))

    def merge(self, other: "Histogram") -> None:
        """Add every duration of `other`."""
        mine = self.counts
        for bucket, count in other.counts.items():
            mine[bucket] = mine.get(bucket, 0) + count
        self.total += other.total
        self.sum_us += other.sum_us
        self.min_us = min(self.min_us, other.min_us)
        self.max_us = max(self.max_us, other.max_us)

    def at(self, quantile: float) -> int | None:
        """The duration in µs that a share `quantile` (0 to 1) does not exceed.

        None when fewer than MIN_SAMPLES_BEYOND samples lie beyond it on the
        thinner side: such a figure is noise. `at(1)` is the exact maximum.
        """
        if self.total == 0:
            return None
        if quantile >= 1:
            return self.max_us
        if self.total * min(1 - quantile, max(quantile, 0.5)) < MIN_SAMPLES_BEYOND - 1e-9:
            return None
        return self.value_at(quantile)

    def value_at(self, quantile: float) -> int:
        """`at` without asking for enough samples. Raises ValueError when empty."""
        if self.total == 0:
            raise ValueError("an empty histogram has no quantiles")
        rank = max(1, math.ceil(quantile * self.total - 1e-9))
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return min(highest_of(bucket), self.max_us)
        return self.max_us

    def share_above(self, limit_us: int) -> float:
        """The share of durations whose bucket lies above that of `limit_us`; 0 when empty."""
        if self.total == 0:
            return 0.0
        bucket_limit = bucket_of(min(limit_us, MAX_US))
        above = sum(count for bucket, count in self.counts.items() if bucket > bucket_limit)
        return above / self.total

    @property
    def mean_us(self) -> float | None:
        """Arithmetic mean in µs, None when empty."""
        return self.sum_us / self.total if self.total else None

    def to_wire(self) -> list[int]:
        """Flat integers: sum, min, max, then pairs of bucket and count in bucket order."""
        flat = [self.sum_us, self.min_us, self.max_us]
        for bucket in sorted(self.counts):
            flat += (bucket, self.counts[bucket])
        return flat

    @classmethod
    def from_wire(cls, flat: Sequence[int]) -> Self:
        """The histogram that `to_wire` wrote."""
        self = cls()
        self.sum_us, self.min_us, self.max_us = flat[:3]
        self.counts = dict(zip(flat[3::2], flat[4::2], strict=True))
        self.total = sum(self.counts.values())
        return self

    @classmethod
    def union(cls, parts: Iterable["Histogram"]) -> Self:
        """One histogram with every duration of all parts."""
        self = cls()
        for part in parts:
            self.merge(part)
        return self

    def to_hdr(self) -> str:
        """The standard compressed base64 form (V2), which other HdrHistogram tools read."""
        return encode_hdr(self.counts)


def encode_hdr(counts: Mapping[int, int]) -> str:
    """Base64 of the HdrHistogram V2 encoding of bucket counts."""
    hdr = HdrHistogram(1, MAX_US, 3)
    for bucket, count in counts.items():
        hdr.record_value(lowest_of(bucket), count)
    return str(hdr.encode().decode())
