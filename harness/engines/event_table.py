"""The events a swarm has seen: content, commit time and delivery times. Not the listeners."""

from array import array

import numpy as np

from harness.engines.delivery_spread import DeliverySpread
from harness.net.sse_parser import Item

HOLES_MAX = 8_000_000
"""Ids jump by a million when a history ends; 48 MB each."""


class EventTable:
    """Per seq: content, commit time and when the first, median and last listener had it.

    Columns are arrays of 64-bit integers, 48 bytes per event; times are Unix µs. At most `limit`
    seqs without an event are kept room for, whatever ids the server sends.
    """

    def __init__(self, limit: int = HOLES_MAX) -> None:
        self.limit = limit
        self.anchor = -1
        """The first seq that any stream named, before there are events; -1 for none."""
        self.base = -1
        self._noted = 0
        self.content = array("q")
        self.committed_us = array("q")
        self.first_us = array("q")
        self.median_us = array("q")
        self.last_us = array("q")
        self.reached = array("q")
        self.latest: dict[str, tuple[int, int]] = {}

    @property
    def end(self) -> int:
        """One past the greatest seq in the table."""
        return self.base + len(self.content)

    def fits(self, seq: int) -> bool:
        """Whether a seq is near enough to the others; a further one counts something else."""
        if self.base < 0:
            return self.anchor < 0 or abs(seq - self.anchor) <= self.limit
        size = max(self.end, seq + 1) - min(self.base, seq)
        return size <= self.limit + self._noted

    def __contains__(self, seq: int) -> bool:
        """Whether there is room for a seq, with or without an event."""
        return self.base <= seq < self.end

    def note(self, item: Item, committed_us: int) -> bool | None:
        """Remember an update's content: True when new, None when known, False on contradiction."""
        # 0 marks a seq that no listener has seen.
        mark = (hash((item.user, item.score)) & 0x7FFFFFFFFFFFFFFF) or 1
        if self.base < 0:
            self.base = item.id
        if item.id < self.base:
            self._grow_down(self.base - item.id)
        missing = item.id - self.end + 1
        if missing > 0:
            self._grow_up(missing)
        position = item.id - self.base
        known = self.content[position]
        if known:
            return None if known == mark else False
        self._noted += 1
        self.content[position] = mark
        self.committed_us[position] = committed_us
        previous = self.latest.get(item.user)
        if previous is None or previous[0] < item.id:
            self.latest[item.user] = (item.id, item.score)
        return True

    def _columns(self) -> tuple["array[int]", ...]:
        return (
            self.content,
            self.committed_us,
            self.first_us,
            self.median_us,
            self.last_us,
            self.reached,
        )

    def _grow_up(self, count: int) -> None:
        zeros = bytes(8 * count)
        for column in self._columns():
            column.frombytes(zeros)

    def _grow_down(self, count: int) -> None:
        zeros = array("q", bytes(8 * count))
        for column in self._columns():
            column[0:0] = zeros
        self.base -= count

    def reach(self, low: int, high: int, times_us: tuple[int, int, int], count: int) -> bool:
        """`count` listeners had seqs low..high, at these (first, median, last) times.

        False when others had them before: then first and last are corrected, and the
        median where the late ones are as many or more.
        """
        span = slice(low - self.base, high + 1 - self.base)
        first, median, last = times_us
        reached = np.frombuffer(self.reached, dtype=np.int64)[span]
        before = reached.copy()
        fresh = not before.any()
        reached += count
        firsts = np.frombuffer(self.first_us, dtype=np.int64)[span]
        lasts = np.frombuffer(self.last_us, dtype=np.int64)[span]
        medians = np.frombuffer(self.median_us, dtype=np.int64)[span]
        if fresh:
            firsts[:] = first
        else:
            np.minimum(firsts, first, out=firsts)
        np.maximum(medians, median, out=medians, where=before <= count)
        np.maximum(lasts, last, out=lasts)
        return fresh

    def to_delivery_spread(self) -> DeliverySpread:
        """Delivery times by seq, to be joined with submissions for end-to-end latency."""
        return DeliverySpread(
            base=self.base,
            columns={
                "committed_us": self.committed_us,
                "first_us": self.first_us,
                "median_us": self.median_us,
                "last_us": self.last_us,
                "reached": self.reached,
            },
        )

    def commits(self, low: int, high: int) -> list[tuple[int, int]]:
        """Pairs (commit time in Unix µs, number of events) over seqs low..high."""
        column = np.frombuffer(self.committed_us, dtype=np.int64)
        times, counts = np.unique(
            column[low - self.base : high + 1 - self.base], return_counts=True
        )
        return list(zip(times.tolist(), counts.tolist(), strict=True))
