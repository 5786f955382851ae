"""Which user a submission is for, and by how much: chosen so that each event names its submission.

Pure, and the same for every server. All gains are of one half of a range, so that no two of them
make a third: an event that is left out shows in the next step of the score. A user's gains come
in an order of their own, and none comes again before all others have.
"""

from collections import defaultdict

from harness.measure.schedule import mix

LEAST, MOST = 49, 97
"""Every sum of two is more than the greatest, and no server's limit on an increment is so low."""
COUNT = MOST - LEAST + 1


class Increments:
    """Choices by the number of a submission. Any slice of the numbers may be asked for, ascending;
    what lies between is walked through, at about 0.5 µs each."""

    def __init__(self, *, seed: int, players: int) -> None:
        self._seed = seed
        self._players = players
        self._next = 0
        self._sent: defaultdict[int, int] = defaultdict(int)

    def user(self, number: int) -> int:
        """The user of a submission."""
        return 1 + mix(self._seed, number) % self._players

    def choose(self, number: int) -> tuple[int, int]:
        """User and increment of a submission."""
        while self._next < number:
            self._sent[self.user(self._next)] += 1
            self._next += 1
        user = self.user(number)
        # An arrival that is sent later than its successors is told as if it had not waited.
        count = self._sent[user] - sum(self.user(n) == user for n in range(number, self._next))
        return user, LEAST + (mix(self._seed, ~user) + count * _step(user)) % COUNT


def _step(user: int) -> int:
    """How far apart a user's consecutive gains are: prime to COUNT, so that all of them come."""
    step = 1 + user % (COUNT - 1)
    return step if step % 7 else step + 1
