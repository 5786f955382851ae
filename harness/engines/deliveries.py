"""What each listener was delivered: contiguity, agreement and explicit jumps. No sockets, no clock.

One accounting for load runs and chaos runs. A listener is a cursor and a few bytes in arrays
across all its connections; agreement costs a comparison of two integers, and only disagreement
is written out (`docs/history.md`).
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from harness.engines.event_table import EventTable
from harness.engines.listener_stats import VIOLATIONS, ListenerTotals, Stretch
from harness.net.sse_parser import Item, Kind, Span
from scoreboard.sse import RETRY_MS, Snapshot

MAX_FAULTY = 1000
"""Listeners that an `ListenerTotals` names one by one."""
MAX_RETRY_MS = 30_000
NOTHING_SHOWN = "had come lately and was shown nothing"
MISSING_MAX = 1 << 53
VIOLATIONS_NOTED = 20
"""Violations of one kind and listener that go into the history; all are counted."""


class Deliveries:
    """The accounts of all listeners of a process, and the table of the events they were sent.

    `cursor` is the id a listener resumes from, -1 until the server has named one. A listener is
    in `irregular` while its next event needs a closer look than comparing it with the cursor.
    `delivered` counts events since its owner last set it to zero, `retry_ms` is how soon the
    server last asked to be called again. `on_fault` is told the name of each fault.
    """

    def __init__(
        self,
        count: int,
        *,
        first_number: int = 0,
        on_fault: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.table = EventTable()
        self.cursor = array("q", [-1]) * count
        self.irregular: set[int] = set()
        self.delivered = 0
        self.retry_ms = RETRY_MS
        self._count = count
        self._first_number = first_number
        self._on_fault = on_fault
        # First id of the current range; beyond the cursor while the range is empty.
        self._range_first = array("q", [-1]) * count
        self._jumped = bytearray(count)
        # Stretches of ids that a listener lacks, ascending.
        self._missing: dict[int, list[tuple[int, int]]] = {}
        self._moved_to: dict[int, int] = {}
        # Listeners that came in another's place: nobody owes them what was sent before.
        self._newcomers: set[int] = set()
        self._totals: Counter[str] = Counter()
        self._faulty: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._events: list[tuple[int, str, int]] = []
        self._stretches: list[Stretch] = []

    # What the connections of a listener bring

    def opened(self, index: int) -> None:
        """A connection was accepted; it asked to resume from the cursor, or from now."""
        self._note(index, "open", self.cursor[index])
        self._range_first[index] = self.cursor[index] + 1 if self.cursor[index] >= 0 else -1
        self._jumped[index] = False

    def closed(self, index: int, cause: str) -> None:
        """The connection ended."""
        self._check_moved(index)
        self._end_range(index)
        if not self._was_shown(index):
            cause = NOTHING_SHOWN
        self._note(index, "close", last=self.cursor[index], detail=cause)

    def resume_after(self, index: int) -> int | bytes | None:
        """What a listener's next request says as its last event id."""
        return self.cursor[index] if self.cursor[index] >= 0 else None

    def forget(self, index: int) -> None:
        """Another listener comes in the place of one that left."""
        self.cursor[index] = self._range_first[index] = -1
        self._missing.pop(index, None)
        self._regular_again(index)
        self._newcomers.add(index)

    def _was_shown(self, index: int) -> bool:
        return self.cursor[index] >= 0 or index not in self._newcomers

    def examine(self, index: int, span: Span) -> None:
        """Compare a span read for the first time, by listener `index`, with the events so far."""
        committed = iter(span.groups)
        group = next(committed, None)
        for item in span.items:
            if item.kind is not Kind.UPDATE or item.id < 0 or not self.table.fits(item.id):
                continue
            while group is not None and not group[1] <= item.id < group[1] + group[2]:
                group = next(committed, None)
            agrees = self.table.note(item, group[0] if group else 0)
            if agrees:
                self._events.append((item.id, item.user, item.score))
            elif agrees is False:
                said = f"{VIOLATIONS['conflicts']}: here {item.user} {item.score}"
                self.fault(index, "conflicts", item.id, said)

    def deliver(self, index: int, span: Span, arrived_ns: int = 0) -> bool:
        """A listener received an examined span. Whether the span collects its time of arrival."""
        del arrived_ns
        cursor = self.cursor
        if span.plain and cursor[index] + 1 == span.first and index not in self.irregular:
            if self._range_first[index] < 0:
                self._range_first[index] = span.first
            cursor[index] = span.last
            self.delivered += span.last - span.first + 1
        else:
            for item in span.items:
                self._item(index, item)
        return span.first in self.table and span.last in self.table

    def fault(self, index: int, what: str, seq: int = -1, detail: str = "") -> None:
        """Count a fault of `what` (a key of VIOLATIONS, or `resets`) against a listener."""
        self._totals[what] += 1
        faults = self._faulty[self._first_number + index]
        faults[what] += 1
        self._on_fault(what)
        if what != "resets" and faults[what] <= VIOLATIONS_NOTED:
            expected = self.cursor[index] + 1
            self._note(index, "violation", expected, seq, detail=detail or VIOLATIONS[what])

    def _item(self, index: int, item: Item) -> None:
        match item.kind:
            case Kind.UPDATE if item.id >= 0:
                self._update(index, item.id)
            case Kind.HELLO:
                if item.retry_ms >= 0:
                    self.retry_ms = min(item.retry_ms, MAX_RETRY_MS)
                if item.id >= 0:
                    self._id_alone(index, item.id)
                elif item.raw is not None:
                    self.fault(index, "broken", detail=f"the id became {item.raw[:80]!r}")
            case Kind.RESET | Kind.SNAPSHOT if item.top is not None:
                self._jump(index, item, item.top)
            case Kind.COMMENT:
                pass
            case Kind.OTHER if item.last_event_id is None:
                # A client ignores types that it does not know.
                pass
            case _:
                self.fault(index, "broken", item.id)

    def _id_alone(self, index: int, seq: int) -> None:
        """An id without data moves a client's last event id and dispatches nothing."""
        if self.table.anchor < 0:
            self.table.anchor = seq
        if self.cursor[index] < 0:
            self.cursor[index] = seq
            self._range_first[index] = seq + 1
        elif seq != self.cursor[index]:
            # Legal only when a reset or snapshot follows.
            self._moved_to[index] = seq
            self.irregular.add(index)

    def _check_moved(self, index: int) -> None:
        moved_to = self._moved_to.pop(index, None)
        if moved_to is not None:
            self._regular_again(index)
            self.fault(index, "broken", moved_to, "the id moved without a reset")

    def _regular_again(self, index: int) -> None:
        if index not in self._missing and index not in self._moved_to:
            self.irregular.discard(index)

    def _jump(self, index: int, item: Item, board: Snapshot) -> None:
        self._moved_to.pop(index, None)
        self._missing.pop(index, None)
        self._regular_again(index)
        what = item.kind.value
        if item.kind is Kind.RESET:
            self.fault(index, "resets")
        elif self._jumped[index] or 0 <= self._range_first[index] <= self.cursor[index]:
            self.fault(index, "broken", board.seq, "a snapshot came after changes")
        if item.id not in (-1, board.seq):
            self.fault(index, "broken", item.id, f"a {what} carries the board of {board.seq}")
        self._end_range(index)
        self._note(index, what, board.seq, board.seq, top=board)
        self.cursor[index] = board.seq
        self._range_first[index] = board.seq + 1
        self._jumped[index] = True

    def _update(self, index: int, seq: int) -> None:
        self._check_moved(index)
        cursor = self.cursor[index]
        self.delivered += 1
        if seq not in self.table:
            far = f"the id {seq} is further from the others than the run can explain"
            self.fault(index, "broken", seq, far)
            return
        if cursor < 0 or seq == cursor + 1:
            if self._range_first[index] < 0 or cursor < 0:
                self._range_first[index] = seq
            self.cursor[index] = seq
        elif seq > cursor:
            self._end_range(index)
            self.fault(index, "gaps", seq)
            self._missing.setdefault(index, []).append((cursor + 1, seq - 1))
            self.irregular.add(index)
            self.cursor[index] = seq
            self._range_first[index] = seq
        elif self._was_missing(index, seq):
            self.fault(index, "reorders", seq)
        else:
            self.fault(index, "duplicates", seq)

    def _was_missing(self, index: int, seq: int) -> bool:
        """Whether the listener lacked a seq, which it no longer does."""
        missing = self._missing.get(index, [])
        for at, (low, high) in enumerate(missing):
            if low <= seq <= high:
                parts = ((low, seq - 1), (seq + 1, high))
                missing[at : at + 1] = [part for part in parts if part[0] <= part[1]]
                if not missing:
                    del self._missing[index]
                    self._regular_again(index)
                return True
        return False

    # What the run is told

    def _note(
        self,
        index: int,
        what: str,
        first: int = -1,
        last: int = -1,
        *,
        detail: str = "",
        top: Snapshot | None = None,
    ) -> None:
        number = self._first_number + index
        self._stretches.append(Stretch(number, what, first, last, detail, top))

    def _end_range(self, index: int) -> None:
        first, last = self._range_first[index], self.cursor[index]
        if 0 <= first <= last:
            self._note(index, "range", first, last)
        self._range_first[index] = -1

    def take_records(self) -> tuple[list[tuple[int, str, int]], list[Stretch]]:
        """First sights of events (seq, user, score), and listeners' stretches, since last time."""
        events, self._events = self._events, []
        stretches, self._stretches = self._stretches, []
        return events, stretches

    def beyond(self) -> dict[str, Any]:
        """Nothing: ids bound what is kept."""
        return {}

    def account(
        self, *, streaming: int, disconnects: dict[str, int], target: int | None
    ) -> ListenerTotals:
        """Where every listener stands; `behind` counts cursors that are not exactly `target`."""
        standing = self.cursor
        if self._newcomers:
            shown = (seq for index, seq in enumerate(self.cursor) if self._was_shown(index))
            standing = array("q", shown)
        return ListenerTotals(
            listeners=self._count,
            streaming=streaming,
            cursor_min=min(standing, default=-1),
            cursor_max=max(standing, default=-1),
            behind=0 if target is None else sum(1 for seq in standing if seq != target),
            missing=min(
                MISSING_MAX, sum(h - low + 1 for m in self._missing.values() for low, h in m)
            ),
            **{what: self._totals[what] for what in (*VIOLATIONS, "resets")},
            disconnects=disconnects,
            faulty={n: dict(c) for n, c in sorted(self._faulty.items())[:MAX_FAULTY]},
        )
