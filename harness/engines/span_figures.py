"""Spans that listeners share while they are fresh, and the figures made of them afterwards.

Listeners that receive equal bytes share one `Span`, which collects when each of them had it. Once
all have it, or it is old, its times become histograms and it is forgotten. Not the accounts: who
received what is in `harness.engines.deliveries`.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.engines.event_table import EventTable
from harness.measure.series import Series
from harness.net.sse_parser import AS_SPECIFIED, Kind, Reading, Span

NS = 1_000_000_000
SETTLE_AFTER_NS = 2 * NS
SPANS_KEPT = 64
"""More than this many are settled before the second is over, to bound their memory."""
LAGS_AT_ONCE = 200_000
"""Bounds the arrays that settling needs, and how long it keeps the loop from reading."""
REACH = ("reach_first", "reach_median", "reach_last")

ReadKey = tuple[int, bytes, int]
"""Length and first bytes of one read, and whether it was gzip."""


@dataclass(frozen=True, slots=True)
class Read:
    """The bytes of one read that was whole blocks only: plain spans `first` to `last`."""

    data: bytes
    spans: tuple[Span, ...]
    first: int
    last: int


class Piece(NamedTuple):
    """Consecutive events of one span, and when its listeners had them."""

    first: int
    last: int
    arrived_us: npt.NDArray[np.int64]


class NumberedSpan(Span):
    """A span of events without ids to follow: the numbers that its blocks had for the listener
    who received it first, -1 for blocks that are no event; None until it has."""

    __slots__ = ("numbers",)

    def __init__(self, payload: bytes, born_ns: int, reading: Reading = AS_SPECIFIED) -> None:
        super().__init__(payload, born_ns, reading)
        self.numbers: list[int] | None = None

    def number(self, numbers: list[int]) -> None:
        """Take the numbers of all blocks; the span is then found by those of its events."""
        self.numbers = numbers
        known = [number for number in numbers if number >= 0]
        self.first = min(known, default=-1)
        self.last = max(known, default=-1)
        self.plain = (
            bool(known)
            and known == list(range(self.first, self.first + len(known)))
            and all(
                number >= 0 or item.kind not in (Kind.UPDATE, Kind.HELLO, Kind.BROKEN)
                for item, number in zip(self.items, numbers, strict=True)
            )
        )


class SpanFigures:
    """The spans of one process. `reads` finds those that equal bytes were read into before."""

    def __init__(
        self,
        series: Series,
        table: EventTable,
        *,
        start_unix_ns: int,
        reading: Reading = AS_SPECIFIED,
        by_content: bool = False,
    ) -> None:
        self.reads: dict[ReadKey, Read] = {}
        self._series = series
        self._table = table
        self._reading = reading
        self._start_us = start_unix_ns // 1000
        self._spans: dict[object, Span] = {}
        self._new_span = NumberedSpan if by_content else Span

    def __len__(self) -> int:
        return len(self._spans)

    def span_of(self, payload: bytes, now_unix_ns: int) -> tuple[Span, bool]:
        """The span of these bytes, and whether nobody received them before."""
        key: object = (len(payload), payload[:64])
        known = self._spans.get(key)
        if known is not None:
            if known.payload == payload:
                return known, False
            # Same length and beginning, other content: keep both, under a key of its own.
            key = None
        fresh = self._new_span(payload, now_unix_ns, self._reading)
        self._spans[id(fresh) if key is None else key] = fresh
        return fresh, True

    def remember(self, key: ReadKey, data: bytes, spans: list[Span]) -> None:
        """Let listeners in step that read the same bytes skip the parser."""
        consecutive = all(span.plain for span in spans) and all(
            one.last + 1 == other.first for one, other in itertools.pairwise(spans)
        )
        if spans and consecutive and key not in self.reads:
            self.reads[key] = Read(data, tuple(spans), spans[0].first, spans[-1].last)
            for span in spans:
                span.keys.append(key)

    def settle(self, *, now_unix_ns: int, listeners: int, everything: bool = False) -> None:
        """Turn spans that all `listeners` have, or that are old, into figures."""
        ripe = [
            (key, span)
            for key, span in self._spans.items()
            if everything
            or len(span.arrived) >= listeners
            or now_unix_ns - span.born_ns > SETTLE_AFTER_NS
        ]
        for key, span in ripe:
            del self._spans[key]
            for read_key in span.keys:
                self.reads.pop(read_key, None)
        groups: list[list[Piece]] = []
        end = -1
        pieces = [
            Piece(first, last, arrived_us)
            for _, span in ripe
            if span.first >= 0 and span.arrived
            for arrived_us in (self._arrivals(span),)
            for first, last in _runs(span)
        ]
        for piece in sorted(pieces, key=lambda piece: piece.first):
            if piece.first <= end:
                groups[-1].append(piece)
            else:
                groups.append([piece])
            end = max(end, piece.last)
        for group in groups:
            self._settle_group(group)

    def _arrivals(self, span: Span) -> npt.NDArray[np.int64]:
        """When its listeners had a span, ascending; records their lag and our own delay."""
        arrived = np.frombuffer(span.arrived, dtype=np.int64)
        delay = (np.frombuffer(span.noticed, dtype=np.int64) - arrived) // 1000
        arrived_us = np.sort(arrived // 1000)
        self._record_lag(span.groups, arrived_us)
        if span.groups:
            second = self._series.seconds[(int(arrived_us[0]) - self._start_us) // 1_000_000]
            second.histograms["notice"].record_many(delay)
        return arrived_us

    def _settle_group(self, group: list[Piece]) -> None:
        """Figures of spans that overlap, as where reconnected listeners catch up."""
        bounds = sorted({p.first for p in group} | {p.last + 1 for p in group})
        for low, high in itertools.pairwise(bounds):
            parts = [
                piece.arrived_us for piece in group if piece.first <= low and piece.last >= high - 1
            ]
            if parts:
                times = parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))
                ends = (int(times[0]), int(times[len(times) // 2]), int(times[-1]))
                if self._table.reach(low, high - 1, ends, len(times)):
                    self._record_reach(low, high - 1, ends)

    def _record_lag(
        self, groups: list[tuple[int, int, int]], arrived_us: npt.NDArray[np.int64]
    ) -> None:
        by_second: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for committed, _, count in groups:
            if committed:
                by_second[(committed - self._start_us) // 1_000_000].append((committed, count))
        at_once = max(1, LAGS_AT_ONCE // len(arrived_us))
        for number, commits in by_second.items():
            histogram = self._series.seconds[number].histograms["lag"]
            table = np.array(commits, dtype=np.int64)
            for start in range(0, len(table), at_once):
                part = table[start : start + at_once]
                histogram.record_differences(arrived_us, part[:, 0], part[:, 1])

    def _record_reach(self, low: int, high: int, ends: tuple[int, int, int]) -> None:
        for committed, count in self._table.commits(low, high):
            if committed:
                histograms = self._series.seconds[
                    (committed - self._start_us) // 1_000_000
                ].histograms
                for name, at in zip(REACH, ends, strict=True):
                    histograms[name].record(at - committed, count)


def _runs(span: Span) -> Iterator[tuple[int, int]]:
    """The first and last of each run of consecutive numbers in a span."""
    if not isinstance(span, NumberedSpan) or span.plain:
        yield span.first, span.last
        return
    numbers = sorted({number for number in span.numbers or () if number >= 0})
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last
