"""Which user a submission is for, and by how much: chosen so that each event names its submission.

Pure, and the same for every server. All gains are of one half of a range, so that no two of them
make a third: an event that is left out shows in the next step of the score. A user's gains come
in an order of their own, and none comes again before all others have.
"""

from collections import defaultdict
from collections.abc import Callable

from harness.measure.schedule import mix

LEAST, MOST = 49, 97
"""Every sum of two is more than the greatest, and no server's limit on an increment is so low."""
COUNT = MOST - LEAST + 1
VISITS_KEPT = 200_000
"""Visits (single submissions, where there are none) whose place is known: a submission that waits
for longer than these gets the gain of its user's first."""


class Increments:
    """Choices by the number of a submission. Any slice of the numbers may be asked for, ascending;
    what lies between is walked through, at about 0.5 µs each.

    `visit_length` submissions in a row are one user's, whenever each of them is due. `popularity`
    says which user some even bits choose, where not all are chosen alike.
    """

    def __init__(
        self,
        *,
        seed: int,
        players: int,
        visit_length: int = 1,
        popularity: Callable[[int], int] | None = None,
    ) -> None:
        self._seed = seed
        self._players = players
        self._visit_length = visit_length
        self._popularity = popularity
        self._next = 0
        self._visits: defaultdict[int, int] = defaultdict(int)
        # How many visits of its user there were before each of the newest visits.
        self._before: dict[int, int] = {}

    def user(self, number: int) -> int:
        """The user of a submission."""
        return self._user_of_visit(number // self._visit_length)

    def _user_of_visit(self, visit: int) -> int:
        bits = mix(self._seed, visit)
        return self._popularity(bits) if self._popularity else 1 + bits % self._players

    def choose(self, number: int) -> tuple[int, int]:
        """User and increment of a submission."""
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
        return user, LEAST + (mix(self._seed, ~user) + count * _step(user)) % COUNT


def _step(user: int) -> int:
    """How far apart a user's consecutive gains are: prime to COUNT, so that all of them come."""
    step = 1 + user % (COUNT - 1)
    return step if step % 7 else step + 1
