"""Which user a submission is for, and by how much: chosen so that each event names its submission.

Pure. All gains are of one half of a range, so that no two of them make a third: an event that is
left out shows in the next step of the score. A server that takes other gains only is sent those,
and such an event may then show later. A user's gains come in an order of their own, and none comes
again before all others have.
"""

import math
from collections import defaultdict
from collections.abc import Callable

from harness.measure.schedule import mix
from harness.measure.trace.plan import Trace

LEAST, MOST = 49, 97
"""Every sum of two is more than the greatest, and few servers limit an increment to so little."""
VISITS_KEPT = 200_000
"""Visits (single submissions, where there are none) whose place is known: a submission that waits
for longer than these gets the gain of its user's first."""


class Increments:
    """Choices by the number of a submission. Any slice of the numbers may be asked for, ascending;
    what lies between is walked through, at about 0.5 µs each.

    `visit_length` submissions in a row are one user's, whenever each of them is due. `popularity`
    says which user some even bits choose, where not all are chosen alike. `gains` are the least and
    the most. A `trace` says whose each submission is, and by how much where it names an amount.
    """

    def __init__(
        self,
        *,
        seed: int,
        players: int,
        visit_length: int = 1,
        popularity: Callable[[int], int] | None = None,
        gains: tuple[int, int] = (LEAST, MOST),
        trace: Trace | None = None,
    ) -> None:
        self._seed = seed
        self._players = players
        self._visit_length = visit_length
        self._popularity = popularity
        self._least = gains[0]
        self._count = gains[1] - gains[0] + 1
        self._trace = trace
        self._next = 0
        self._visits: defaultdict[int, int] = defaultdict(int)
        # How many visits of its user there were before each of the newest visits.
        self._before: dict[int, int] = {}

    def user(self, number: int) -> int:
        """The user of a submission."""
        return self._user_of_visit(number // self._visit_length)

    def _user_of_visit(self, visit: int) -> int:
        if self._trace is not None:
            return self._trace.user(visit)
        bits = mix(self._seed, visit)
        return self._popularity(bits) if self._popularity else 1 + bits % self._players

    def choose(self, number: int) -> tuple[int, int]:
        """User and increment of a submission."""
        if self._trace is not None and (named := self._trace.increment(number)):
            return self._trace.user(number), named
        visit, place = divmod(number, self._visit_length)
        user = self._user_of_visit(visit)
        while self._next <= visit:
            walked = self._user_of_visit(self._next)
            self._before[self._next] = self._visits[walked]
            if self._next >= VISITS_KEPT:
                self._before.pop(self._next - VISITS_KEPT, None)
            self._visits[walked] += 1
            self._next += 1
        # An arrival that is sent later than its successors is told as if it had not waited.
        count = self._before.get(visit, 0) * self._visit_length + place
        place = mix(self._seed, ~user) + count * _step(user, self._count)
        return user, self._least + place % self._count


def _step(user: int, count: int) -> int:
    """How far apart a user's consecutive gains are: prime to their count, so that all come."""
    step = 1 + user % max(1, count - 1)
    while math.gcd(step, count) > 1:
        step += 1
    return step
