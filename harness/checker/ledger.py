"""I2, ledger arithmetic: numbers without gaps, each total the one before plus the increment.

Without a database snapshot the same is asked of the changes on the streams: no number is missing.
"""

from collections import Counter

from harness.checker.evidence import Evidence
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.database_snapshot import DatabaseSnapshot, Row

TITLE = "changes are numbered without gaps and every score is the sum of its increments"


def check(evidence: Evidence) -> Finding:
    """The verdict on I2."""
    inquiry = Inquiry("I2 ledger", TITLE, evidence.flaws)
    _gapless(inquiry, evidence)
    if not evidence.changes:
        inquiry.doubt("nothing changed")
    if evidence.database is not None:
        _arithmetic(inquiry, evidence, evidence.database)
        return inquiry.conclude(
            f"{len(evidence.changes)} ledger changes and {len(evidence.database.users)} scores"
        )
    return inquiry.conclude(f"{len(evidence.changes)} changes on the streams")


def _gapless(inquiry: Inquiry, evidence: Evidence) -> None:
    if evidence.database is None and evidence.board is None:
        expected = evidence.changes[0].seq if evidence.changes else 0
    else:
        expected = evidence.base_seq + 1
    for change in evidence.changes:
        if change.turn:
            # Another history begins, above all that was ever shown.
            expected = change.seq + 1
            continue
        if change.seq < expected:
            inquiry.violation(f"two changes have seq {change.seq}")
        elif change.seq > expected:
            missing = (
                f"{expected}" if change.seq == expected + 1 else f"{expected}–{change.seq - 1}"
            )
            inquiry.violation(f"no change has seq {missing}; {change.seq} exists")
        expected = change.seq + 1
    if evidence.database is not None and evidence.database.board_seq != expected - 1:
        inquiry.violation(
            f"the board counts {evidence.database.board_seq} changes, "
            f"the ledger's last is {expected - 1}"
        )


def _arithmetic(inquiry: Inquiry, evidence: Evidence, database: DatabaseSnapshot) -> None:
    ids = {user.id for user in database.users}
    totals: dict[int, int] = {}
    last_seq: dict[int, int] = {}
    if evidence.board is not None:
        totals = {
            user: evidence.base[name]
            for user, name in evidence.names.items()
            if user in ids and name in evidence.base
        }
    applied = sorted(
        (row for row in database.rows if row.seq is not None), key=lambda row: row.seq or 0
    )
    sums: Counter[int] = Counter()
    for row in applied:
        if row.seq is None or row.seq <= evidence.base_seq:
            continue
        _row(inquiry, row, ids, totals)
        if row.score_after is not None:
            totals[row.user] = row.score_after
        last_seq[row.user] = row.seq
        sums[row.user] += row.increment
    for row in database.rows:
        if row.seq is None and row.outcome == "applied":
            inquiry.violation(f"row {row.sid} is applied but has no seq")
    for user in database.users:
        expected = totals.get(user.id, user.score)
        if user.score != expected:
            inquiry.violation(
                f"{user.name} has {user.score} in users, the ledger says {expected} "
                f"(last change {last_seq.get(user.id, 0)}, increments {sums[user.id]:+d})"
            )


def _row(inquiry: Inquiry, row: Row, ids: set[int], totals: dict[int, int]) -> None:
    if row.outcome != "applied":
        inquiry.violation(f"row {row.sid} has seq {row.seq} though its outcome is {row.outcome}")
    if row.user not in ids:
        inquiry.violation(f"row {row.sid} (seq {row.seq}) changes user {row.user}, who is no user")
    if row.score_after is None:
        inquiry.violation(f"row {row.sid} (seq {row.seq}) says no score")
        return
    before = totals.get(row.user, row.score_after - row.increment)
    if before + row.increment != row.score_after:
        inquiry.violation(
            f"seq {row.seq} (row {row.sid}) leaves user {row.user} at {row.score_after}, "
            f"but {before} {row.increment:+d} is {before + row.increment}"
        )
