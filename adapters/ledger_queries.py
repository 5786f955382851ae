"""Queries of the ledger that the server and the worker both ask, and what their rows mean."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from scoreboard.contract import change_identity, identity, start_identity
from scoreboard.domain import Change

BOARD_ID = 1
"""The one board there is (docs/decisions/one-board.md)."""

BOARD_QUERY = (
    "SELECT b.seq, b.incarnation, b.starts_after, l.user_id, l.score_after, l.committed_at_us"
    f" FROM boards b LEFT JOIN ledger l ON l.seq = b.seq WHERE b.id = {BOARD_ID}"
)
"""The board's row with its last change, read from the ledger itself: a copy of it in the board's
row would be right only as long as everybody who writes the ledger keeps it."""


CLOCK_QUERY = "SELECT UNIX_TIMESTAMP(NOW(6))"


class BoardRow(msgspec.Struct, frozen=True, gc=False):
    """The board's last sequence number, and the history that it counts in.

    `starts_after` is the number that the history begins with: the first change has the next one.
    `tip` is the identity of the last change (`contract.change_identity`), empty when the ledger
    has no such row, and `committed_us` is its time.
    """

    seq: int
    incarnation: str
    starts_after: int = 0
    tip: str = ""
    committed_us: int = 0


class Run(msgspec.Struct, frozen=True, gc=False):
    """Consecutive changes, and the identity of what came before the first of them."""

    before: str
    changes: Sequence[Change]


def board_from(row: Sequence[Any]) -> BoardRow:
    """The board in a row of BOARD_QUERY."""
    seq, incarnation, starts_after, user_id, score, committed_us = row
    if user_id is not None:
        tip = identity(seq, user_id, score, committed_us)
    else:
        tip = start_identity(seq) if seq == starts_after else ""
    return BoardRow(seq, incarnation, starts_after, tip, committed_us or 0)


def changes_query(seq: int, limit: int) -> str:
    """The next changes in order, at most `limit`; they start at `seq` + 1."""
    return (
        # LEFT JOIN: a user who was removed must not leave a gap that stops the board.
        "SELECT l.seq, l.user_id, COALESCE(u.name, CONCAT('removed-', l.user_id)),"
        " l.score_after, l.committed_at_us, u.id IS NULL"
        " FROM ledger l LEFT JOIN users u ON u.id = l.user_id"
        f" WHERE l.seq > {int(seq)} ORDER BY l.seq LIMIT {int(limit)}"
    )


def changes_from(rows: Iterable[Sequence[Any]]) -> list[Change]:
    """The changes in rows of `changes_query`."""
    return [
        Change(
            seq=row[0],
            user_id=row[1],
            name=row[2],
            score=row[3],
            committed_us=row[4],
            removed=bool(row[5]),
        )
        for row in rows
    ]


def run_after(seq: int, found: Sequence[Change], limit: int) -> Run:
    """The changes after `seq`, at most `limit`, of those found from `seq` on; without a change
    `seq` a history begins there. Ends where the numbers jump: what follows belongs to a later
    history."""
    if found and found[0].seq == seq:
        before, changes = change_identity(found[0]), found[1:]
    else:
        before, changes = start_identity(seq), found
    changes = changes[:limit]
    if changes and changes[-1].seq - changes[0].seq != len(changes) - 1:
        end = next(n for n, item in enumerate(changes) if item.seq != changes[0].seq + n)
        changes = changes[:end]
    return Run(before, changes)
