"""Who was sent which event, connection by connection, and what each listener lacks. Pure.

Without ids nothing is resumed: a listener owes nothing for the time between two connections, nor
for the moments in which one begins or ends. What it must have been sent is decided without a
clock where possible: between two events of a user none of this user may be missing.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from harness.checker.by_content.chains import Defect
from harness.checker.by_content.sightings import Shown
from harness.evidence.history import FINAL_CAUSE, Listen

OPEN_SLACK_NS = 500_000_000
"""A server may answer a moment before it begins to send to a new listener."""
CLOSE_SLACK_NS = 5_000_000_000
"""What others saw this much earlier than the last event that a lost connection was sent, it had
to be sent, too."""
HOLES_TOLD = 1000


@dataclass(kw_only=True)
class Connection:
    """One connection of a listener. `ranges` are the numbers of the events it was sent."""

    listener: str
    process: str
    opened_ns: int
    closed_ns: int | None = None
    final: bool = False
    ranges: list[tuple[int, int]] = field(default_factory=list)
    late: list[tuple[int, int]] = field(default_factory=list)
    """Pairs of events of one user: the first one came after the other."""
    violations: list[str] = field(default_factory=list)
    given_up: int = 0

    def has(self, event: Shown) -> bool:
        """Whether it was sent this event."""
        number = event.numbers.get(self.process)
        if number is None:
            return False
        at = bisect_right(self.ranges, (number, 1 << 62)) - 1
        return at >= 0 and number <= self.ranges[at][1]

    def covers(self, start_ns: int, end_ns: int) -> bool:
        """Whether it was open all the time between two moments."""
        return self.opened_ns + OPEN_SLACK_NS <= start_ns and (
            self.final or (self.closed_ns is not None and self.closed_ns >= end_ns)
        )


@dataclass(kw_only=True)
class Lack:
    """What a connection was not sent: the first of these events, and how many they are.

    `after` is when it was sent its last one, where it was sent nothing more from `event` on.
    """

    connection: Connection
    event: Shown
    count: int
    silent: bool = False


def connections_of(listens: Mapping[str, Sequence[Listen]]) -> list[Connection]:
    """The connections of all listeners; a last one without its close counts as open to the end
    of what was written."""
    found: list[Connection] = []
    for listener, records in listens.items():
        current: Connection | None = None
        for record in records:
            if record.what == "open":
                current = Connection(
                    listener=listener,
                    process=listener.partition("/")[0],
                    opened_ns=record.time_ns,
                )
                found.append(current)
            elif current is not None:
                _add(current, record)
    for connection in found:
        connection.ranges.sort()
    return found


def _add(connection: Connection, record: Listen) -> None:
    first, last = record.first, record.last
    match record.what:
        case "range" if first is not None and last is not None:
            connection.ranges.append((first, last))
        case "late" if first is not None and last is not None:
            connection.late.append((first, last))
        case "violation":
            connection.violations.append(record.detail or "")
        case "lacks":
            connection.given_up += last or 0
        case "close":
            connection.closed_ns = record.time_ns
            connection.final = record.detail == FINAL_CAUSE


Owner: TypeAlias = tuple[str, int | None]
"""A name, and whose it is: several users may be called alike."""


def _owner(event: Shown) -> Owner:
    return event.name, None if event.submission is None else event.submission.user


class Audience:
    """All connections, and the events in the order of each process's numbers.

    `required` says which events every listener has to be sent: those that show a submission, or,
    where others wrote, all of theirs.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        events: Iterable[Shown],
        required: Iterable[Shown],
        *,
        drained: bool,
        rising: bool,
    ) -> None:
        self.connections = connections
        self._rising = rising
        self._drained = drained
        self._required = {id(event) for event in required}
        self._by_process: dict[str, list[Shown]] = {}
        self._of_name: dict[str, dict[str, list[Shown]]] = {}
        self._of_user: dict[str, dict[Owner, list[Shown]]] = {}
        self._absent: dict[str, list[Shown]] = {}
        every = list(events)
        for process in {connection.process for connection in connections}:
            seen = [event for event in every if process in event.numbers]
            seen.sort(key=lambda event: event.numbers[process])
            self._by_process[process] = seen
            self._absent[process] = [
                event
                for event in every
                if process not in event.numbers and id(event) in self._required
            ]
            of_name: dict[str, list[Shown]] = defaultdict(list)
            of_user: dict[Owner, list[Shown]] = defaultdict(list)
            for event in seen:
                of_name[event.name].append(event)
                of_user[_owner(event)].append(event)
            self._of_name[process] = of_name
            self._of_user[process] = of_user

    def event(self, process: str, number: int) -> Shown | None:
        """The event that a process gave this number."""
        seen = self._by_process.get(process, [])
        at = bisect_left(seen, number, key=lambda event: event.numbers[process])
        return seen[at] if at < len(seen) and seen[at].numbers[process] == number else None

    def names(self, process: str) -> Mapping[str, Sequence[Shown]]:
        """The events of each name in the order of a process's numbers."""
        return self._of_name.get(process, {})

    @property
    def processes(self) -> Iterable[str]:
        """The processes that listened."""
        return self._by_process

    def receivers(self, event: Shown) -> list[Connection]:
        """The connections that were sent an event."""
        return [connection for connection in self.connections if connection.has(event)]

    def covering(self, start_ns: int, end_ns: int) -> int:
        """How many connections were open all the time between two moments."""
        return sum(connection.covers(start_ns, end_ns) for connection in self.connections)

    def followed(self, defect: Defect, since_ns: int) -> bool:
        """Whether some connection was sent the event of a defect, the one that goes on without it,
        and all of its user's before it: it had an earlier one, too, or was open before."""
        return any(
            connection.has(defect.event)
            and (defect.later is None or connection.has(defect.later))
            and (
                connection.opened_ns + OPEN_SLACK_NS <= since_ns
                or (defect.earlier is not None and connection.has(defect.earlier))
                or defect.later is not None
            )
            for connection in self.connections
        )

    def followed_to_the_end(self, event: Shown | None, since_ns: int) -> bool:
        """Whether some connection was sent all that came after an event, or after a moment."""
        return self._drained and any(
            connection.final
            and (
                connection.opened_ns + OPEN_SLACK_NS <= since_ns
                or (event is not None and connection.has(event))
            )
            for connection in self.connections
        )

    def lacks(self) -> Iterator[Lack]:
        """What each connection had to be sent and was not."""
        for connection in self.connections:
            seen = self._by_process[connection.process]
            missing = list(self._missing(connection, seen))
            if missing:
                yield Lack(connection=connection, event=missing[0], count=len(missing))
            tail = self._tail(connection, seen)
            if tail is not None:
                yield tail

    def _missing(self, connection: Connection, seen: Sequence[Shown]) -> Iterator[Shown]:
        """Events before the last one of the connection, and those that its process never saw."""
        if not connection.ranges:
            return
        first = connection.ranges[0][0]
        begin = bisect_left(seen, connection.opened_ns, key=lambda event: event.time_ns)
        spans = [(begin, first - 1)]
        spans += [
            (one[1] + 1, other[0] - 1)
            for one, other in zip(connection.ranges, connection.ranges[1:], strict=False)
        ]
        for low, high in spans[:HOLES_TOLD]:
            for event in seen[max(0, low) : high + 1]:
                if self._owed(connection, event):
                    yield event
        for event in self._absent[connection.process]:
            if self._owed(connection, event):
                yield event

    def _tail(self, connection: Connection, seen: Sequence[Shown]) -> Lack | None:
        """What came after the last event of a connection, one of the same user in each case."""
        if not (connection.final and self._drained):
            return None
        start = connection.ranges[-1][1] + 1 if connection.ranges else 0
        for at in range(start, len(seen)):
            event = seen[at]
            if id(event) in self._required and self._after_open(connection, event):
                count = sum(id(later) in self._required for later in seen[at:])
                return Lack(connection=connection, event=event, count=count, silent=True)
        return None

    def _owed(self, connection: Connection, event: Shown) -> bool:
        if id(event) not in self._required:
            return False
        earlier, later = self._neighbours(connection, event)
        # Where scores come back, an earlier event may be taken for a later one after a reconnect.
        earlier &= self._rising
        return (earlier or self._after_open(connection, event)) and (
            later or self._before_close(connection, event)
        )

    def _neighbours(self, connection: Connection, event: Shown) -> tuple[bool, bool]:
        """Whether the connection was sent an earlier, and a later, event of the same user."""
        earlier = later = False
        for other in self._of_user[connection.process].get(_owner(event), ()):
            if other is event or not connection.has(other):
                continue
            if id(other) not in self._required:
                continue
            if self._before(other, event, connection.process):
                earlier = True
            elif self._before(event, other, connection.process):
                later = True
            if earlier and later:
                break
        return earlier, later

    def _before(self, one: Shown, other: Shown, process: str) -> bool:
        """Whether an event of a user is surely the earlier one of two. A process that was told late
        of what others saw before numbers it late."""
        if self._rising:
            return one.score < other.score
        if process in one.numbers and process in other.numbers:
            return one.numbers[process] < other.numbers[process] and one.time_ns <= other.time_ns
        return one.time_ns < other.time_ns

    def _after_open(self, connection: Connection, event: Shown) -> bool:
        # The earlier of both: clocks differ, and of two users the wrong one may have been named.
        since_ns = event.time_ns
        if event.submission is not None:
            since_ns = min(since_ns, event.submission.invoked_ns)
        return since_ns >= connection.opened_ns + OPEN_SLACK_NS

    def _before_close(self, connection: Connection, event: Shown) -> bool:
        if connection.final:
            return self._drained
        if not connection.ranges:
            return False
        last = self.event(connection.process, connection.ranges[-1][1])
        return last is not None and last.time_ns >= event.time_ns + CLOSE_SLACK_NS
