"""Events without ids, numbered by this process as their content is first seen. Not the listeners.

The identity of an event is its user, its score and its occurrence: the first time that a
listener is shown this score of this user, the second time, … Numbers are dense, so the columns of
`EventTable` hold the times of these events as they hold those of events with ids. What may be
numbered is bounded by the offered load, never by what the server sends.
"""

import math
from array import array
from collections.abc import Iterable

from harness.engines.event_table import EventTable
from harness.measure.schedule import Profile

BEYOND_NAMED = 20
"""Events beyond the bound that are kept as examples."""
MARGIN = 10_000
"""Events that may be numbered whatever the load: the server may have users that we never sent
for."""


MOST = 20_000_000
"""Events that are numbered in a run without an end: 2 GB in each process."""


def events_allowed(profile: Profile, length_s: float) -> int:
    """How many events may be numbered in a run of this length, 0 for one without an end.

    Each submission may be shown twice.
    """
    submissions = sum(s.arrivals for s in profile.cut(length_s).segments) if length_s else math.inf
    return int(min(2 * submissions + MARGIN, MOST))


class ContentTable(EventTable):
    """Numbers events. `limit` is how many; `beyond` counts those that came after it was reached."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.base = 0
        self.limit = limit
        self.beyond = 0
        self.examples: list[tuple[str, int]] = []
        self._first: dict[tuple[str, int], int] = {}
        self._again: dict[tuple[str, int], list[int]] = {}
        self._of_user: dict[str, array[int]] = {}

    def occurrences(self, user: str, score: int) -> Iterable[int]:
        """The numbers of all events of this content, in the order of their first sight."""
        first = self._first.get((user, score))
        if first is None:
            return ()
        again = self._again.get((user, score))
        return (first,) if again is None else (first, *again)

    def new_number(self, user: str, score: int) -> int:
        """A number for one more occurrence of this content; -1 beyond the bound."""
        number = len(self.content)
        if number >= self.limit:
            self.beyond += 1
            if len(self.examples) < BEYOND_NAMED:
                self.examples.append((user, score))
            return -1
        if (user, score) in self._first:
            self._again.setdefault((user, score), []).append(number)
        else:
            self._first[user, score] = number
        self._grow_up(1)
        self.content[number] = 1
        self._of_user.setdefault(user, array("q")).append(number)
        self.latest[user] = (number, score)
        return number

    def numbers_of(self, user: str) -> "array[int]":
        """The numbers of a user's events, ascending."""
        return self._of_user.get(user, array("q"))
