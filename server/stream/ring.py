"""Ring buffer of recent changes, encoded, from which a returning listener resumes exactly.

Pure. Bounded by changes and by bytes; the oldest segments are dropped first. Not how
events are written to a connection: see `listener`.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import msgspec

from scoreboard import sse
from scoreboard.domain import Change

JOIN_BYTES = 64 * 1024
"""Segments for a listener that catches up are joined to about this size."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Changes `first` to `last` and their events."""

    first: int
    last: int
    changes: Sequence[Change]
    events: bytes


class Ring:
    """Segments without a gap; `end` is the last sequence number in them."""

    def __init__(self, end: int, *, max_changes: int, max_bytes: int) -> None:
        self._max_changes = max_changes
        self._max_bytes = max_bytes
        self.clear(end)

    @property
    def start(self) -> int:
        """The lowest cursor that can be continued."""
        return self._segments[self._head].first - 1 if self._count else self.end

    def clear(self, end: int) -> None:
        """Forget everything; the next change must be `end` + 1."""
        self.end = end
        self._segments: list[Segment] = []
        self._head = 0
        self._count = self._bytes = 0

    def append(self, changes: Sequence[Change], *, keep_after: int | None = None) -> None:
        """Encode consecutive changes, which must start at `end` + 1, as the newest segment.

        Changes after `keep_after` are kept even beyond the bounds.
        """
        assert changes[0].seq == self.end + 1, "a gap in the ring"
        assert changes[-1].seq == self.end + len(changes), "a gap in a segment"
        segment = Segment(
            first=changes[0].seq,
            last=changes[-1].seq,
            changes=changes,
            events=sse.encode_updates(changes),
        )
        self._segments.append(segment)
        self._count += len(changes)
        self._bytes += len(segment.events)
        self.end = segment.last
        self._trim(self.end if keep_after is None else keep_after)

    def covers(self, cursor: int) -> bool:
        """Whether a listener at `cursor` can continue from the ring."""
        return self.start <= cursor <= self.end

    def after(self, cursor: int) -> Iterator[tuple[bytes, int]]:
        """Events after `cursor`, in pieces, each with the cursor it leads to.

        The ring may grow while the caller iterates, but must not be cleared.
        Empty for a cursor that is not covered, or at the end.
        """
        if not self.covers(cursor):
            return
        index = bisect_right(self._segments, cursor, lo=self._head, key=_last)
        pending: list[bytes] = []
        size = 0
        for segment in self._segments[index:]:
            if segment.first <= cursor:
                rest = segment.changes[cursor + 1 - segment.first :]
                pending.append(sse.encode_updates(rest))
            else:
                pending.append(segment.events)
            size += len(pending[-1])
            if size >= JOIN_BYTES or segment.last == self.end:
                yield b"".join(pending), segment.last
                pending, size = [], 0

    def first_after(self, cursor: int) -> Change:
        """The change `cursor` + 1, which must be in the ring."""
        index = bisect_right(self._segments, cursor, lo=self._head, key=_last)
        segment = self._segments[index]
        return segment.changes[cursor + 1 - segment.first]

    def _trim(self, keep_after: int) -> None:
        while self._count > self._max_changes or self._bytes > self._max_bytes:
            oldest = self._segments[self._head]
            if oldest.last > keep_after:
                return
            self._head += 1
            self._count -= len(oldest.changes)
            self._bytes -= len(oldest.events)
        if self._head > 64 and self._head * 2 > len(self._segments):
            del self._segments[: self._head]
            self._head = 0


def _last(segment: Segment) -> int:
    return segment.last
