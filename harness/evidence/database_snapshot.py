"""The database after a run as the checker reads it: rows, users, the board's number.

Values only; `database` reads them from MySQL.
"""

from dataclasses import dataclass

from harness.targets.namesakes import labels_of


@dataclass(slots=True, frozen=True)
class Row:
    """A ledger row as MySQL holds it. ``committed_us`` is the server's wall clock."""

    sid: str
    principal: str
    user: int
    increment: int
    outcome: str
    seq: int | None
    score_after: int | None
    committed_us: int


@dataclass(slots=True, frozen=True)
class UserRow:
    """A user as MySQL holds it."""

    id: int
    name: str
    score: int
    seq: int


@dataclass(frozen=True, kw_only=True)
class DatabaseSnapshot:
    """The database after the run. Optional: the checker also works without."""

    rows: list[Row]
    users: list[UserRow]
    board_seq: int

    def names(self, *, labelled: bool) -> dict[int, str]:
        """By id; `labelled` where players who share a name are told apart."""
        names = {user.id: user.name for user in self.users}
        return names | labels_of(names.items()) if labelled else names
