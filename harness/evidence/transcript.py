"""Accounting for what listeners were sent, at reading time, in constant space per listener.

:class:`Canon` holds one copy of every change and writes it once; :class:`Listener` checks that
ids are contiguous across reconnects and that each delivery equals the canonical copy. Agreement
costs a dictionary look-up; disagreement is written out in full (``docs/history.md``).

Knows nothing of sockets, HTTP or SSE framing: the caller feeds it ids and payload bytes.
"""

import time
from collections.abc import Callable

import msgspec

from harness.evidence.history import Event, HistoryWriter, Listen, Score

VIOLATIONS_MAX = 100
"""Violations written per listener; the rest are only counted, so that a broken server under
load does not fill the disk."""


class _Update(msgspec.Struct):
    user: str
    score: int


class _Board(msgspec.Struct):
    seq: int
    scores: list[_Update]


_decode_update = msgspec.json.Decoder(_Update).decode
_decode_board = msgspec.json.Decoder(_Board).decode


class Canon:
    """The changes one process has seen, by seq. Shared by all listeners of the process."""

    def __init__(
        self, writer: HistoryWriter, *, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.writer = writer
        self.clock_ns = clock_ns
        self.payloads: dict[int, bytes] = {}
        self.first = 0
        self.last = 0
        """The lowest and the highest seq any listener has seen; 0 before the first."""
        self.on_new: Callable[[bytes], None] | None = None
        """Told the payload of each change that is seen for the first time."""

    def agrees(self, seq: int, data: bytes) -> bool:
        """Whether `data` is what all others were sent as `seq`. The first one defines it.

        Raises ValueError when `data` is no update of the contract.
        """
        known = self.payloads.get(seq)
        if known is not None:
            return known == data
        update = _decode_update(data)
        self.payloads[seq] = data
        self.first = min(self.first or seq, seq)
        self.last = max(self.last, seq)
        if self.on_new is not None:
            self.on_new(data)
        self.writer.put(
            Event, time_ns=self.clock_ns(), seq=seq, user=update.user, score=update.score
        )
        return True


class Listener:
    """One logical listener across all its connections.

    ``cursor`` is the id to resume from: the last one a browser's EventSource would hold.
    None until the server has named one.
    """

    def __init__(self, name: str, canon: Canon) -> None:
        self.name = name
        self.cursor: int | None = None
        self.received = 0
        self.redelivered = 0
        self.resets = 0
        self.connections = 0
        self.violations = 0
        self._canon = canon
        self._range_first: int | None = None
        self._range_redelivered = 0
        self._accepted_on_connection = False
        self._moved_to: int | None = None

    def opened(self) -> None:
        """A connection was accepted; it was asked to resume from ``cursor`` (or from now)."""
        self._accepted_on_connection = False
        self._moved_to = None
        self.connections += 1
        self._write("open", last_event_id=self.cursor)

    def primed(self, seq: int) -> None:
        """An id without data: it moves a client's last event id and dispatches nothing."""
        if self.cursor is None:
            self.cursor = seq
        elif seq != self.cursor:
            # Legal only when a reset follows in the same breath.
            self._moved_to = seq

    def advance(self, first: int, last: int) -> bool:
        """Accept ids `first` to `last`, all of which the canon agreed with already.

        The quick way for a block of bytes that many listeners receive. False, and nothing
        is accepted, when they do not continue this listener's cursor: use :meth:`update`.
        """
        if self.cursor is None or first != self.cursor + 1 or self._moved_to is not None:
            return False
        if self._range_first is None:
            self._range_first = first
        self.cursor = last
        self.received += last - first + 1
        self._accepted_on_connection = True
        return True

    def update(self, seq: int, data: bytes) -> None:
        """A change was delivered."""
        self._check_moved()
        self.received += 1
        try:
            agrees = self._canon.agrees(seq, data)
        except ValueError as error:
            self._violation(f"change {seq} is no update: {error}: {_shown(data)}", last=seq)
            agrees = True
        if not agrees:
            self._violation(
                f"change {seq} was delivered here as {_shown(data)}, "
                f"to others as {_shown(self._canon.payloads[seq])}",
                last=seq,
            )
        if self.cursor is None:
            # A server that names no cursor first: the first change starts the account.
            self.cursor = seq - 1
        if seq <= self.cursor:
            if self._accepted_on_connection:
                self._violation(
                    f"change {seq} came again on one connection, after {self.cursor}",
                    first=self.cursor + 1,
                    last=seq,
                )
            self.redelivered += 1
            self._range_redelivered += 1
            return
        if seq != self.cursor + 1:
            self._violation(
                f"changes {self.cursor + 1} to {seq - 1} were never delivered; {seq} came next",
                first=self.cursor + 1,
                last=seq,
            )
            self._end_range()
        if self._range_first is None:
            self._range_first = seq
        self.cursor = seq
        self._accepted_on_connection = True

    def reset(self, seq: int | None, data: bytes) -> None:
        """The server said that history was gone and gave a snapshot to go on from."""
        self.resets += 1
        self._jump("reset", seq, data)

    def snapshot(self, seq: int | None, data: bytes) -> None:
        """The server gave the board a fresh listener starts from."""
        if self._accepted_on_connection:
            self._violation("a snapshot came after changes on one connection", last=seq)
        self._jump("snapshot", seq, data)

    def _jump(self, what: str, seq: int | None, data: bytes) -> None:
        self._moved_to = None
        self._end_range()
        try:
            board = _decode_board(data)
        except ValueError as error:
            self._violation(f"{what} carries no board: {error}: {_shown(data)}", last=seq)
            self.cursor = seq if seq is not None else self.cursor
            return
        if seq is not None and seq != board.seq:
            self._violation(f"{what} with id {seq} carries the board of {board.seq}", last=seq)
        scores: list[Score] = [(row.user, row.score) for row in board.scores]
        self._write(what, seq=board.seq, scores=scores)
        self.cursor = board.seq
        self._accepted_on_connection = True

    def unreadable(self, detail: str) -> None:
        """What came is no stream at all: broken framing, or no HTTP."""
        self._violation(f"the stream cannot be read: {detail}")

    def closed(self, cause: str) -> None:
        """The connection ended; `cause` is for people."""
        self._check_moved()
        self._end_range()
        self._write("close", last=self.cursor, detail=cause)

    def _check_moved(self) -> None:
        if self._moved_to is not None:
            self._violation(
                f"asked to resume from {self.cursor}, the stream set the id to "
                f"{self._moved_to} without a reset",
                first=self.cursor,
                last=self._moved_to,
            )
            self._moved_to = None

    def _end_range(self) -> None:
        if self._range_first is not None and self.cursor is not None:
            self._write(
                "range",
                first=self._range_first,
                last=self.cursor,
                redelivered=self._range_redelivered,
            )
        elif self._range_redelivered:
            self._write("range", redelivered=self._range_redelivered)
        self._range_first = None
        self._range_redelivered = 0

    def _violation(self, detail: str, *, first: int | None = None, last: int | None = None) -> None:
        self.violations += 1
        if self.violations <= VIOLATIONS_MAX:
            self._write("violation", detail=detail, first=first, last=last)

    def _write(
        self,
        what: str,
        *,
        last_event_id: int | None = None,
        first: int | None = None,
        last: int | None = None,
        redelivered: int = 0,
        seq: int | None = None,
        scores: list[Score] | None = None,
        detail: str | None = None,
    ) -> None:
        self._canon.writer.put(
            Listen,
            listener=self.name,
            what=what,
            last_event_id=last_event_id,
            first=first,
            last=last,
            redelivered=redelivered,
            seq=seq,
            scores=scores,
            detail=detail,
        )


def _shown(data: bytes) -> str:
    return data[:200].decode("utf-8", "replace")
