"""Queries of the ledger that the server and the worker both ask, and what their rows mean."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from scoreboard.domain import Change

BOARD_ID = 1
"""The one board there is (docs/decisions/one-board.md)."""

BOARD_QUERY = f"SELECT seq, incarnation FROM boards WHERE id = {BOARD_ID}"


class BoardRow(msgspec.Struct, frozen=True, gc=False):
    """The board's last sequence number, and the history that it counts in."""

    seq: int
    incarnation: str


def changes_query(seq: int, limit: int) -> str:
    """The next changes in order, at most `limit`; they start at `seq` + 1."""
    return (
        # LEFT JOIN: a user removed by hand must not leave a gap that stops the board.
        "SELECT l.seq, l.user_id, COALESCE(u.name, ''), l.score_after, l.committed_at_us"
        " FROM ledger l LEFT JOIN users u ON u.id = l.user_id"
        f" WHERE l.seq > {int(seq)} ORDER BY l.seq LIMIT {int(limit)}"
    )


def changes_from(rows: Iterable[Sequence[Any]]) -> list[Change]:
    """The changes in rows of `changes_query`."""
    return [
        Change(seq=row[0], user_id=row[1], name=row[2], score=row[3], committed_us=row[4])
        for row in rows
    ]
