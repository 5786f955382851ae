"""Counters and histograms for each second of a run, mergeable. Not a report.

Seconds are numbered from the start of the schedule (negative while listeners
connect). Every figure belongs to the second in which its cause was due, an
arrival to its intended send, a delivery to its commit, so a stall shows where
it began. A series drains into plain lists for a worker report and absorbs
them; addition is the only merge, so the order of reports does not matter.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from harness.measure.histogram import Histogram


class Second:
    """Counters and histograms of one second."""

    __slots__ = ("counters", "histograms")

    def __init__(self) -> None:
        self.counters: defaultdict[str, int] = defaultdict(int)
        self.histograms: defaultdict[str, Histogram] = defaultdict(Histogram)


class Series:
    """Seconds by number."""

    def __init__(self) -> None:
        self.seconds: defaultdict[int, Second] = defaultdict(Second)

    def drain(self) -> list[list[Any]]:
        """Everything since the last drain as lists of plain values; the series is empty after."""
        taken, self.seconds = self.seconds, defaultdict(Second)
        return [
            [
                number,
                dict(second.counters),
                {name: h.to_wire() for name, h in second.histograms.items() if h.total},
            ]
            for number, second in sorted(taken.items())
        ]

    def absorb(self, wire: Iterable[Sequence[Any]]) -> None:
        """Add what `drain` returned elsewhere."""
        for number, counters, histograms in wire:
            second = self.seconds[number]
            for name, value in counters.items():
                second.counters[name] += value
            for name, flat in histograms.items():
                second.histograms[name].merge(Histogram.from_wire(flat))

    def total(self, name: str, *, start: int | None = None, end: int | None = None) -> int:
        """Sum of a counter over start <= second < end."""
        return sum(
            second.counters.get(name, 0)
            for number, second in self.seconds.items()
            if _inside(number, start, end)
        )

    def merged(self, name: str, *, start: int | None = None, end: int | None = None) -> Histogram:
        """Union of a histogram over start <= second < end."""
        return Histogram.union(
            second.histograms[name]
            for number, second in sorted(self.seconds.items())
            if name in second.histograms and _inside(number, start, end)
        )

    def names(self) -> tuple[set[str], set[str]]:
        """All counter names and all histogram names."""
        counters: set[str] = set()
        histograms: set[str] = set()
        for second in self.seconds.values():
            counters.update(second.counters)
            histograms.update(second.histograms)
        return counters, histograms


def _inside(number: int, start: int | None, end: int | None) -> bool:
    return (start is None or number >= start) and (end is None or number < end)
