"""Changes as the scripts that move and swap the board take them. Not the scripts' order: see
`redis_board`."""

from collections.abc import Iterable
from typing import Any

from adapters.ledger_queries import Run
from scoreboard import contract
from scoreboard.domain import Change

CHANGES_PER_CALL = 1000
"""Most changes in one script call or stream entry: a few milliseconds of Redis' one thread."""


def latest_per_user(changes: Iterable[Change]) -> list[bytes | int]:
    """The last of each user's changes, in the order of the script that moves the board."""
    latest = {change.user_id: change for change in changes}
    return [part for change in latest.values() for part in in_ranking(change)]


def in_ranking(change: Change) -> tuple[int, bytes, int]:
    """The user's id, member and negated score after the change; no member for a removed user."""
    if change.removed:
        return change.user_id, b"", 0
    member = contract.ranking_member(change.user_id, change.seq, change.name)
    return change.user_id, member, -change.score


def stream_entries(run: Run) -> list[Any]:
    """Last seq, identity before and encoded changes of each entry."""
    entries: list[Any] = []
    before = run.before
    for start in range(0, len(run.changes), CHANGES_PER_CALL):
        chunk = run.changes[start : start + CHANGES_PER_CALL]
        entries += (chunk[-1].seq, before, contract.encode_changes(chunk))
        before = contract.change_identity(chunk[-1])
    return entries
