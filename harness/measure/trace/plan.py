"""A recorded sequence of submissions and its schedule at any speed. Pure; `trace_file` reads it."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, cycle, groupby

from harness.measure.schedule import NS

SUBMISSIONS_MAX = 1_000_000
"""24 MB in each process that plays them."""


@dataclass(frozen=True)
class Trace:
    """Submissions in the order of time: nanoseconds since the first of them, the place of the user
    among `users` and the increment, 0 where the trace names none. Columns are machine integers, so
    that they travel to load processes as they are. `speed` 2 plays them twice as fast.
    """

    due_ns: bytes
    places: bytes
    increments: bytes
    users: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    """The target's user for each place, from `for_users`."""
    speed: float = 1.0

    @classmethod
    def of(
        cls,
        at_ns: Sequence[int],
        places: Sequence[int],
        increments: Sequence[int],
        users: Sequence[str],
        *,
        whole_seconds: bool = False,
    ) -> "Trace":
        """The trace of such columns, in any order and from any moment on.

        Where times are `whole_seconds`, as those of a log, what fell into one is spread evenly
        over it, in its order.
        """
        order = sorted(range(len(at_ns)), key=at_ns.__getitem__)
        moments = [at_ns[place] for place in order]
        if whole_seconds:
            moments = list(_spread(moments))
        first = moments[0] if moments else 0
        return cls(
            array("q", (moment - first for moment in moments)).tobytes(),
            array("q", (places[place] for place in order)).tobytes(),
            array("q", (increments[place] for place in order)).tobytes(),
            tuple(users),
        )

    @cached_property
    def _due_ns(self) -> "array[int]":
        return _column(self.due_ns)

    @cached_property
    def _places(self) -> "array[int]":
        return _column(self.places)

    @cached_property
    def _increments(self) -> "array[int]":
        return _column(self.increments)

    @property
    def submissions(self) -> int:
        """How many it has."""
        return len(self.due_ns) // 8

    @cached_property
    def length_s(self) -> float:
        """How long one round is: to the last submission, and a mean gap beyond it."""
        last_s = self._due_ns[-1] / NS / self.speed
        others = self.submissions - 1
        return round(last_s * (others + 1) / others, 9) if others and last_s else 1.0

    @property
    def rate(self) -> float:
        """Submissions per second on average."""
        return self.submissions / self.length_s

    def at_speed(self, speed: float) -> "Trace":
        """The same trace, so many times as fast as it was recorded."""
        return replace(self, speed=speed)

    def for_users(self, known: Mapping[str, int], players: int) -> "Trace":
        """The same trace for the users of a target, numbered from 1: who is `known` there by the
        text of the trace is that user; the others get the users that are left, in turn, in the
        order of their first submission."""
        own = {name: known[name] for name in self.users if name in known}
        taken = set(own.values())
        free = [number for number in range(1, players + 1) if number not in taken]
        turn = cycle(free or range(1, players + 1))
        numbers = tuple(own[name] if name in own else next(turn) for name in self.users)
        return replace(self, users=(), numbers=numbers)

    def about(self, known: Mapping[str, int], players: int) -> str:
        """A sentence on what is played, and for whom."""
        own = sum(name in known for name in self.users)
        others = len(self.users) - own
        shared = " (more than there are: some share one)" if len(self.users) > players else ""
        return (
            f"trace: {self.submissions:,} submissions in {self.length_s:,.1f} s; of its "
            f"{len(self.users):,} users {own:,} are the target's by name or id, {others:,} get "
            f"its others in turn{shared}"
        )

    def user(self, number: int) -> int:
        """The target's user of submission `number`."""
        return self.numbers[self._places[number % self.submissions]]

    def increment(self, number: int) -> int:
        """The increment of submission `number`, 0 where the trace names none."""
        return self._increments[number % self.submissions]

    def rounds(self, length_s: float) -> float:
        """How often it begins in a run of this length, the last time cut off; without an end where
        the length is 0. It begins again only where a second or more would be left."""
        if not length_s:
            return float("inf")
        return 1 if length_s < self.length_s + 1 else length_s / self.length_s

    def schedule(self, length_s: float) -> Iterator[tuple[int, int]]:
        """Pairs (number, due in ns) in the order of time."""
        end_ns = length_s * NS if length_s else float("inf")
        rounds, round_ns = self.rounds(length_s), self.length_s * NS
        for played in count():
            if played >= rounds:
                return
            begin_ns, first = played * round_ns, played * self.submissions
            for place, due_ns in enumerate(self._due_ns):
                due = int(begin_ns + due_ns / self.speed)
                if due >= end_ns:
                    return
                yield first + place, due

    def count(self, length_s: float) -> int:
        """Submissions of a run of this length."""
        if self.rounds(length_s) == 1:
            return self._begun(length_s)
        whole = int(length_s / self.length_s)
        return whole * self.submissions + self._begun(length_s - whole * self.length_s)

    def _begun(self, length_s: float) -> int:
        return bisect_left(self._due_ns, length_s * NS * self.speed)


def _spread(moments: Iterable[int]) -> Iterator[int]:
    for moment, alike in groupby(moments):
        size = sum(1 for _ in alike)
        yield from (moment + place * NS // size for place in range(size))


def _column(content: bytes) -> "array[int]":
    found = array("q")
    found.frombytes(content)
    return found
