"""Whether the board in Redis is the ledger's, judged by its content. Pure: reads nothing.

What is looked at costs the same for any number of users. That each user has the right score:
see `drift`.
"""

from enum import Enum, auto

import msgspec

from adapters.ledger_queries import BoardRow
from scoreboard.contract import change_identity
from scoreboard.domain import Change


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """One atomic look at the keys in Redis; `seq` is None where there is no board.

    `users` and `entries` are what the board says it has, the counts what its keys have.
    `streamed` is the id of the last stream entry, and `last` the change that it ends with, None
    where a history begins and for what nobody can read. `claims` are positions that API processes
    have shown and no longer find in the ledger.
    """

    seq: int | None
    incarnation: str = ""
    epoch: bytes = b""
    tip: str = ""
    users: int | None = None
    entries: int = 0
    foreign: bool = False
    ranking_count: int = 0
    members_count: int = 0
    stream_count: int = 0
    streamed: tuple[int, int] = (0, 0)
    last: Change | None = None
    claims: "tuple[Copy, ...]" = ()

    @property
    def marked(self) -> bool:
        """Whether the identity belongs to the cursor: an older program moves only this."""
        return self.tip.startswith(f"{self.seq}:")

    @property
    def whole(self) -> bool:
        """Whether as many users are there as should be, so that reads are answered from here."""
        return self.seq is not None and self.ranking_count == self.members_count == (
            self.users or 0
        )

    @property
    def shown(self) -> str:
        """The identity of the change at the cursor; empty when nothing here tells it."""
        if self.marked:
            return self.tip
        if self.last is not None and self.last.seq == self.seq:
            return change_identity(self.last)
        return ""


class State(Enum):
    """SOUND needs nothing. UNMARKED lacks marks that an older program does not write. LOST is to
    be rebuilt: no reader was shown what is wrong with it. WRONG may have been seen, so this
    history ends here. FOREIGN belongs to another history than the ledger, as far as was read."""

    SOUND = auto()
    UNMARKED = auto()
    LOST = auto()
    WRONG = auto()
    FOREIGN = auto()

    @property
    def usable(self) -> bool:
        """Whether this board can be moved forward."""
        return self in {State.SOUND, State.UNMARKED}


def judge(copy: Copy, board: BoardRow, at_cursor: str) -> State:
    """The state of a copy; `board` was read after it, `at_cursor` is the identity of the ledger's
    change at the copy's cursor."""
    if copy.seq is None:
        return State.LOST
    if copy.incarnation != board.incarnation:
        # A copy from before this history began has smaller numbers, always.
        return State.FOREIGN if copy.seq > board.starts_after else State.LOST
    if copy.seq > board.seq or copy.shown != at_cursor:
        return State.FOREIGN
    if copy.foreign or (copy.streamed > (copy.seq, 0) and copy.last is not None):
        return State.WRONG
    if copy.streamed != (copy.seq, 0) or copy.stream_count < copy.entries:
        return State.LOST
    if copy.users is not None and not copy.whole:
        return State.LOST
    if not copy.marked or copy.users is None:
        return State.UNMARKED if copy.ranking_count == copy.members_count else State.LOST
    return State.SOUND


def continues(copy: Copy, board: BoardRow, at_cursor: str) -> bool:
    """Whether the ledger, read under the board's lock, goes on from what a copy has shown."""
    if copy.seq is None:
        return True
    if copy.incarnation != board.incarnation:
        return copy.seq <= board.starts_after
    return copy.seq <= board.seq and copy.shown == at_cursor
