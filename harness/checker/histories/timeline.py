"""All changes of a run in one order, also those that a store lost. Pure.

A history that ended is followed by a *turn*: changes that bear the number with which the next one
begins. They take back what was lost, and bring what was committed before anybody noticed; nobody
was shown those one by one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.evidence.database_snapshot import Row
from harness.evidence.history import Loss
from scoreboard.contract import next_start


@dataclass(slots=True, frozen=True)
class Change:
    """One applied submission in the total order: the user's score after it."""

    seq: int
    user: str
    score: int
    increment: int | None = None
    """None when the score before it is not known."""
    sid: str | None = None
    turn: bool = False
    """Part of the beginning of a history, not a change that anybody is told of."""


@dataclass(slots=True, frozen=True)
class Ended:
    """A history that ended: MySQL lost the changes after `kept`, `lost` in all; the next history
    begins at `start`."""

    kept: int
    lost: tuple[Change, ...]
    start: int


def timeline(
    rows: Iterable[Row],
    losses: Iterable[Loss],
    *,
    names: Mapping[int, str],
    base: Mapping[str, int],
    board_seq: int,
) -> tuple[list[Change], list[Ended]]:
    """The changes of the ledger's `rows` and of `losses` in the order in which they could be seen,
    and the histories that ended.

    What was lost before anybody could see it (the next changes got its numbers, as in a cluster
    that waits for its replica) ends no history; then only the ledger counts.
    """

    def named(user: int) -> str:
        return names.get(user, f"id {user}")

    applied = sorted(
        (row for row in rows if row.seq is not None and row.score_after is not None),
        key=lambda row: row.seq or 0,
    )
    kept_rows = [
        Change(row.seq or 0, named(row.user), row.score_after or 0, row.increment, row.sid)
        for row in applied
    ]
    lossy = [loss for loss in losses if loss.store == "mysql" and loss.rows]
    changes: list[Change] = []
    ended: list[Ended] = []
    totals = dict(base)
    position = 0
    for number, loss in enumerate(lossy):
        lost = tuple(
            Change(seq, named(u), score, inc, sid) for sid, u, seq, score, inc in loss.rows
        )
        start = next_start(lost[-1].seq)
        reached = lossy[number + 1].kept_seq if number + 1 < len(lossy) else board_seq
        if reached < start:
            continue
        while position < len(kept_rows) and kept_rows[position].seq <= loss.kept_seq:
            _apply(changes, totals, kept_rows[position])
            position += 1
        ended.append(Ended(loss.kept_seq, lost, start))
        changes += lost
        touched = {
            change.user: totals.get(change.user, _before(change)) for change in reversed(lost)
        }
        changes += [Change(start, user, score, turn=True) for user, score in touched.items()]
        while position < len(kept_rows) and kept_rows[position].seq <= start:
            silent = kept_rows[position]
            turned = Change(
                start, silent.user, silent.score, silent.increment, silent.sid, turn=True
            )
            _apply(changes, totals, turned)
            position += 1
    for change in kept_rows[position:]:
        _apply(changes, totals, change)
    return changes, ended


def _before(change: Change) -> int:
    return change.score - (change.increment or 0)


def _apply(changes: list[Change], totals: dict[str, int], change: Change) -> None:
    changes.append(change)
    totals[change.user] = change.score


def lost_by(losses: Sequence[Loss], store: str) -> set[str]:
    """The ids of all submissions that a store lost."""
    found: set[str] = set()
    for loss in losses:
        if loss.store == store:
            found.update(row[0] for row in loss.rows)
            found.update(loss.sids)
    return found
