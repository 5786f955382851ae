"""The board after the first n changes: what every read, sample and snapshot is held against."""

from bisect import bisect_left, insort
from collections.abc import Sequence

from harness.checker.evidence import Evidence
from harness.evidence.history import Score


class Prefix:
    """Replays changes in order. Ask for seqs in ascending order; each change is played once.

    ``scores`` holds every user's score at ``seq``. Without a full first board (black box, no
    ``board`` record) users are unknown until their first change, and ``complete`` is False.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.scores: dict[str, int] = dict(evidence.base)
        self.seq = evidence.base_seq
        self.complete = evidence.board is not None or evidence.database is not None
        self._changes = evidence.changes
        self._next = 0
        self._ascending = sorted(self.scores.values())

    def reaches(self, seq: int) -> bool:
        """Play up to `seq`; False when that change is unknown or already behind."""
        while self._next < len(self._changes) and self._changes[self._next].seq <= seq:
            change = self._changes[self._next]
            before = self.scores.get(change.user)
            if before is not None:
                del self._ascending[bisect_left(self._ascending, before)]
            insort(self._ascending, change.score)
            self.scores[change.user] = change.score
            self.seq = change.seq
            self._next += 1
        return self.seq == seq

    def difference(self, shown: Sequence[Score], *, limit: int, offset: int = 0) -> str | None:
        """How `shown` differs from this prefix's board, or None. Ties may stand in any order."""
        for name, score in shown:
            if self.scores.get(name) != score:
                return f"shows {name} with {score}, at {self.seq} it had {self.scores.get(name)}"
        names = {name for name, _ in shown}
        if len(names) != len(shown):
            return "shows a user twice"
        end = len(self._ascending) - offset
        expected = self._ascending[max(0, end - limit) : max(0, end)][::-1]
        if [score for _, score in shown] != expected:
            return (
                f"shows scores {_short([score for _, score in shown])}, "
                f"the board at {self.seq} was {_short(expected)}"
            )
        return None


def _short(values: Sequence[int]) -> str:
    return str(list(values[:12]))[:-1] + (", …]" if len(values) > 12 else "]")
