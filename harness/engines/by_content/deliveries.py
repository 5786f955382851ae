"""What each listener was delivered where events have no ids to follow. No sockets.

The counterpart of `harness.engines.deliveries` for streams as the specification has them: an
event is known by its content (`table`), so that listeners which receive equal bytes in
the same order still cost one comparison. Events of one user come in one order for everybody; those
of different users need not. Each connection is accounted for by itself: without ids nothing can be
resumed, so what was sent between two connections is lost lawfully. What is a breach is decided
by the checker, which knows what was submitted; here are only the facts.
"""

import time
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from harness.engines.by_content.table import ContentTable
from harness.engines.deliveries import (
    MAX_FAULTY,
    MAX_RETRY_MS,
    VIOLATIONS_NOTED,
    Deliveries,
)
from harness.engines.listener_stats import VIOLATIONS, ListenerTotals, Sighting, Stretch
from harness.engines.span_figures import NumberedSpan
from harness.engines.swarm_settings import SwarmSettings
from harness.net.sse_parser import Item, Kind, Span
from scoreboard.sse import RETRY_MS

HOLES_MAX = 1000
"""Stretches of events that one connection may lack, told one by one. Beyond it the oldest are
given up: they count as lacking for good."""
LATE_NOTED = 1000
"""Events of a listener in another order than the first sight's that go into the history."""
QUOTED_CHARACTERS = 80


class ContentDeliveries:
    """The accounts of all listeners of a process, and the table of the events they were sent.

    `cursor` is the greatest number that the listener's connection was delivered, -1 for none.
    `irregular` stays empty: numbers beyond the cursor are new to a connection whatever it lacks.
    `delivered`, `retry_ms` and `on_fault` are as in `Deliveries`.
    """

    def __init__(
        self,
        count: int,
        *,
        limit: int,
        first_number: int = 0,
        on_fault: Callable[[str], None] = lambda _: None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.table = ContentTable(limit)
        self.cursor = array("q", [-1]) * count
        self.irregular: set[int] = set()
        self.delivered = 0
        self.retry_ms = RETRY_MS
        self._count = count
        self._first_number = first_number
        self._on_fault = on_fault
        self._clock = clock_ns
        # The least number of the connection; -1 while it has none.
        self._start = array("q", [-1]) * count
        # How many events were known when the connection was opened; -1 while there is none.
        self._known_at_open = array("q", [-1]) * count
        self._last_ids: dict[int, bytes] = {}
        self._holes: dict[int, list[tuple[int, int]]] = {}
        self._given_up: Counter[int] = Counter()
        self._late: Counter[int] = Counter()
        self._totals: Counter[str] = Counter()
        self._faulty: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._events: list[Sighting] = []
        self._stretches: list[Stretch] = []

    # What the connections of a listener bring

    def opened(self, index: int) -> None:
        """A connection was accepted."""
        self._note(index, "open")
        self._known_at_open[index] = self.table.end

    def closed(self, index: int, cause: str) -> None:
        """The connection ended: what it was delivered is told, and forgotten."""
        self._begin(index)
        first = self._start[index]
        for low, high in self._holes.pop(index, ()):
            self._note(index, "range", first, low - 1)
            first = high + 1
        if 0 <= first <= self.cursor[index]:
            self._note(index, "range", first, self.cursor[index])
        if given_up := self._given_up.pop(index, 0):
            self._note(index, "lacks", last=given_up)
        self._note(index, "close", last=self.cursor[index], detail=cause)
        self.cursor[index] = self._start[index] = self._known_at_open[index] = -1

    def resume_after(self, index: int) -> int | bytes | None:
        """What a listener's next request says as its last event id, as it was sent."""
        return self._last_ids.get(index)

    def forget(self, index: int) -> None:
        """Another listener comes in its place; each connection is accounted for by itself."""
        self._last_ids.pop(index, None)

    def examine(self, index: int, span: Span) -> None:
        """Nothing: which events a span holds depends on who received it."""

    def deliver(self, index: int, span: Span, arrived_ns: int = 0) -> bool:
        """A listener received a span. False when its time of arrival is accounted for here, or
        does not matter; else the span collects it."""
        assert isinstance(span, NumberedSpan)
        if (last := span.last_event_id) is not None:
            self._last_ids[index] = last
        numbers = span.numbers
        if numbers is None:
            span.number([self._item(index, item) for item in span.items])
            return span.first >= 0
        if span.plain and self.cursor[index] + 1 == span.first:
            self.cursor[index] = span.last
            self.delivered += span.last - span.first + 1
            return True
        found = [
            self._item(index, item, number)
            for item, number in zip(span.items, numbers, strict=True)
        ]
        if found == numbers:
            return span.first >= 0
        for number in found:
            if number >= 0:
                at_us = arrived_ns // 1000
                self.table.reach(number, number, (at_us, at_us, at_us), 1)
        return False

    def fault(self, index: int, what: str, number: int = -1, detail: str = "") -> None:
        """Count a fault of `what` (a key of VIOLATIONS) against a listener."""
        faults = self._count_fault(index, what)
        if faults <= VIOLATIONS_NOTED:
            self._note(index, "violation", last=number, detail=detail or VIOLATIONS[what])

    def _count_fault(self, index: int, what: str) -> int:
        self._totals[what] += 1
        faults = self._faulty[self._first_number + index]
        faults[what] += 1
        self._on_fault(what)
        return faults[what]

    def _item(self, index: int, item: Item, expected: int = -1) -> int:
        """Account for one block; the number of its event, -1 where it is none or beyond."""
        match item.kind:
            case Kind.UPDATE:
                return self._update(index, item, expected)
            case Kind.HELLO if item.retry_ms >= 0:
                self.retry_ms = min(item.retry_ms, MAX_RETRY_MS)
            case Kind.BROKEN:
                text = item.user[:QUOTED_CHARACTERS]
                self.fault(index, "broken", detail=f"{VIOLATIONS['broken']}: {text!r}")
        return -1

    def _update(self, index: int, item: Item, expected: int) -> int:
        self.delivered += 1
        self._begin(index)
        number = expected
        if number < 0 or self._has(index, number):
            occurrences = self.table.occurrences(item.user, item.score)
            number = next((n for n in occurrences if not self._has(index, n)), -1)
        if number < 0:
            number = self._first_sight(index, item)
        if number >= 0:
            self._mark(index, number, item.user)
        return number

    def _first_sight(self, index: int, item: Item) -> int:
        latest = self.table.latest.get(item.user)
        if latest is not None and latest[1] == item.score and self._has(index, latest[0]):
            self._count_fault(index, "duplicates")
        number = self.table.new_number(item.user, item.score)
        if number >= 0:
            listener = self._first_number + index
            self._events.append(Sighting(number, item.user, item.score, self._clock(), listener))
        return number

    # Which events a connection was delivered

    def _begin(self, index: int) -> None:
        """The fast path moves the cursor alone: from -1 only where the first event is number 0."""
        if self._start[index] < 0 <= self.cursor[index]:
            self._start[index] = 0

    def _has(self, index: int, number: int) -> bool:
        if not 0 <= self._start[index] <= number <= self.cursor[index]:
            return False
        holes = self._holes.get(index)
        if not holes:
            return True
        at = bisect_right(holes, (number, self.table.limit)) - 1
        return at < 0 or number > holes[at][1]

    def _mark(self, index: int, number: int, user: str) -> None:
        cursor, start = self.cursor[index], self._start[index]
        if cursor < 0:
            self.cursor[index] = self._start[index] = number
            return
        if number > cursor:
            if number > cursor + 1:
                self._add_hole(index, cursor + 1, number - 1)
            self.cursor[index] = number
            return
        if number < start:
            if number + 1 < start:
                self._holes.setdefault(index, []).insert(0, (number + 1, start - 1))
            self._start[index] = number
        else:
            self._fill(index, number)
        self._check_order(index, number, user)

    def _add_hole(self, index: int, first: int, last: int) -> None:
        holes = self._holes.setdefault(index, [])
        holes.append((first, last))
        if len(holes) > HOLES_MAX:
            low, high = holes.pop(0)
            self._given_up[index] += high - low + 1
            self._note(index, "range", self._start[index], low - 1)
            self._start[index] = high + 1

    def _fill(self, index: int, number: int) -> None:
        holes = self._holes[index]
        at = bisect_right(holes, (number, self.table.limit)) - 1
        low, high = holes[at]
        holes[at : at + 1] = [
            hole for hole in ((low, number - 1), (number + 1, high)) if hole[0] <= hole[1]
        ]
        if not holes:
            del self._holes[index]

    def _check_order(self, index: int, number: int, user: str) -> None:
        """An event that came after a later one of the same user is told with that one."""
        numbers = self.table.numbers_of(user)
        cursor = self.cursor[index]
        for at in range(bisect_left(numbers, number + 1), len(numbers)):
            if numbers[at] > cursor:
                break
            if self._has(index, numbers[at]):
                self._late[index] += 1
                if self._late[index] <= LATE_NOTED:
                    self._note(index, "late", number, numbers[at])
                break

    # What the run is told

    def _note(
        self, index: int, what: str, first: int = -1, last: int = -1, *, detail: str = ""
    ) -> None:
        number = self._first_number + index
        self._stretches.append(Stretch(number, what, first, last, detail, time_ns=self._clock()))

    def take_records(self) -> tuple[list[Sighting], list[Stretch]]:
        """First sights of events, and listeners' stretches, since last time."""
        events, self._events = self._events, []
        stretches, self._stretches = self._stretches, []
        return events, stretches

    def beyond(self) -> dict[str, Any]:
        """Events that were not kept, for the end of the history: how many, and some of them."""
        table = self.table
        return {"beyond": table.beyond, "examples": table.examples} if table.beyond else {}

    def account(
        self, *, streaming: int, disconnects: dict[str, int], target: int | None
    ) -> ListenerTotals:
        """Where every listener stands. `behind` counts open connections that lack the newest
        event or one in between, `missing` the events that they lack in between."""
        del target
        end = self.table.end
        lacking = sum(
            1
            for index, known in enumerate(self._known_at_open)
            if 0 <= known < end and (self.cursor[index] < end - 1 or index in self._holes)
        )
        return ListenerTotals(
            listeners=self._count,
            streaming=streaming,
            cursor_min=min(self.cursor, default=-1),
            cursor_max=max(self.cursor, default=-1),
            behind=lacking,
            missing=sum(h - low + 1 for holes in self._holes.values() for low, h in holes),
            events=end,
            beyond=self.table.beyond,
            **{what: self._totals[what] for what in VIOLATIONS},
            disconnects=disconnects,
            faulty={n: dict(c) for n, c in sorted(self._faulty.items())[:MAX_FAULTY]},
        )


def accounts_of(
    settings: SwarmSettings, *, on_fault: Callable[[str], None]
) -> Deliveries | ContentDeliveries:
    """The accounts that suit a server: by id where it numbers its changes, else by content."""
    if settings.capabilities.follows_ids:
        return Deliveries(settings.listeners, first_number=settings.first_number, on_fault=on_fault)
    return ContentDeliveries(
        settings.listeners,
        limit=settings.events_max,
        first_number=settings.first_number,
        on_fault=on_fault,
    )
