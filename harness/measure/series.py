"""Counters and histograms for each second of a run, mergeable. Not a report.

Seconds are numbered from the start of the schedule (negative while listeners
connect). Every figure belongs to the second in which its cause was due, an
arrival to its intended send, a delivery to its commit, so a stall shows where
it began. A series drains into plain lists for a worker report and absorbs
them; addition is the only merge, so the order of reports does not matter.

What is kept of a long run is bounded: seconds past are packed, to a tenth of their size, and those
of more than an hour ago become minutes (`compact`).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from harness.measure.histogram import Histogram

FRESH_S = 30
"""Seconds of which reports may still come."""
FINE_S = 3600
"""So many of the newest seconds are kept one by one."""
STEP_S = 60
"""Older ones become spans of this length."""
LOOK_EVERY_S = 10


class Second:
    """Counters and histograms of one second, or of a span of several.

    A histogram that was packed goes on in `histograms`; the two parts add up to `histogram`.
    """

    __slots__ = ("_packed", "counters", "histograms", "span_s")

    def __init__(self) -> None:
        self.counters: defaultdict[str, int] = defaultdict(int)
        self.histograms: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.span_s = 1
        self._packed: dict[str, bytes] = {}

    def names(self) -> set[str]:
        """Of all its histograms."""
        return {*self.histograms, *self._packed}

    def histogram(self, name: str) -> Histogram:
        """All that was recorded under a name; not to be added to."""
        if name not in self._packed:
            return self.histograms.get(name) or Histogram()
        found = Histogram.from_wire(msgspec.msgpack.decode(self._packed[name], type=list[int]))
        if name in self.histograms:
            found.merge(self.histograms[name])
        return found

    def drop(self, name: str) -> None:
        """Forget a histogram."""
        self.histograms.pop(name, None)
        self._packed.pop(name, None)

    def pack(self) -> None:
        """Keep the histograms in a tenth of the room."""
        for name in [*self.histograms]:
            self._packed[name] = msgspec.msgpack.encode(self.histogram(name).to_wire())
        self.histograms.clear()

    def add(self, other: "Second") -> None:
        """Add another second, packed."""
        for name, value in other.counters.items():
            self.counters[name] += value
        for name in other.names():
            self.histograms[name].merge(other.histogram(name))
        self.pack()


class Seconds(defaultdict[int, Second]):
    """Seconds by number. One that is part of a span is that span."""

    def __init__(self) -> None:
        super().__init__(Second)
        self.spans_from = self.spans_to = 0

    def __missing__(self, number: int) -> Second:
        if self.spans_from <= number < self.spans_to:
            return self[number - (number - self.spans_from) % STEP_S]
        return super().__missing__(number)


class Series:
    """Seconds by number."""

    def __init__(self) -> None:
        self.seconds = Seconds()
        self._next_look = 0

    def compact(self, now: int, measured_from: int | None = None) -> None:
        """Pack what is no longer fresh in second `now`; spans begin at the first second measured,
        so that none has a part of the warm-up. Without that second there are none yet."""
        if now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY_S
        seconds = self.seconds
        # Nearly all are packed already.
        for second in [s for n, s in seconds.items() if s.histograms and n < now - FRESH_S]:
            second.pack()
        if measured_from is None:
            return
        if seconds.spans_to == seconds.spans_from:
            seconds.spans_from = seconds.spans_to = measured_from
        while seconds.spans_to + STEP_S <= now - FINE_S:
            self._make_span(seconds.spans_to)

    def _make_span(self, begin: int) -> None:
        span = Second()
        span.span_s = STEP_S
        for number in range(begin, begin + STEP_S):
            if number in self.seconds:
                span.add(self.seconds.pop(number))
        self.seconds[begin] = span
        self.seconds.spans_to = begin + STEP_S

    def drain(self) -> list[list[Any]]:
        """Everything since the last drain as lists of plain values; the series is empty after."""
        taken, self.seconds = self.seconds, Seconds()
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
            second.histogram(name)
            for number, second in sorted(self.seconds.items())
            if _inside(number, start, end)
        )

    def names(self) -> tuple[set[str], set[str]]:
        """All counter names and all histogram names."""
        counters: set[str] = set()
        histograms: set[str] = set()
        for second in self.seconds.values():
            counters.update(second.counters)
            histograms |= second.names()
        return counters, histograms


def _inside(number: int, start: int | None, end: int | None) -> bool:
    return (start is None or number >= start) and (end is None or number < end)
