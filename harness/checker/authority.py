"""I7, authority: nothing that had no right to an effect has one."""

from harness.checker.evidence import Evidence, FaultSpan, Submission
from harness.checker.limits import loses_writes
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.history import Outcome

TITLE = "attacks have no effect: no acceptance, no row, no change"


def check(evidence: Evidence) -> Finding:
    """The verdict on I7.

    An attack is known by its label. Its trace is its own submission id, or, where it borrows
    an honest key, its body under that id; without the database, its increment (choose one that no
    honest submission uses).
    """
    inquiry = Inquiry("I7 authority", TITLE, evidence.flaws)
    if not evidence.attacks:
        inquiry.doubt("no attack was tried")
    forgotten = [fault for fault in evidence.faults if loses_writes(fault)]
    for attack in evidence.attacks:
        if attack.outcome is Outcome.OK and not _unknown_again(evidence, attack, forgotten):
            inquiry.violation(f"{_named(attack)} was accepted")
    if evidence.database is not None:
        _rows(inquiry, evidence)
    else:
        _changes(inquiry, evidence)
    kinds = sorted({attack.attack or "" for attack in evidence.attacks})
    return inquiry.conclude(f"{len(evidence.attacks)} attacks: {', '.join(kinds) or 'none'}")


def _unknown_again(evidence: Evidence, attack: Submission, forgotten: list[FaultSpan]) -> bool:
    """Whether a reused key may be one that a promoted Redis never heard of. It is accepted under
    the id of the first, and must have no effect all the same."""
    if attack.attack != "reused-key":
        return False
    sent_ns = [s.invoked_ns for s in evidence.submissions if s.sid == attack.sid]
    return any(
        first <= (evidence.ended_ns if fault.over_ns is None else fault.over_ns)
        and fault.inject_ns <= attack.invoked_ns
        for first in sent_ns
        for fault in forgotten
    )


def _named(attack: Submission) -> str:
    return f"attack {attack.attack} by principal {attack.principal}: {attack}"


def _rows(inquiry: Inquiry, evidence: Evidence) -> None:
    honest = {s.sid for s in evidence.submissions if s.sid is not None}
    by_sid: dict[str, Submission] = {}
    by_body: dict[tuple[int, int], Submission] = {}
    for attack in evidence.attacks:
        if attack.sid is not None:
            by_sid[attack.sid] = attack
        by_body[attack.user, attack.increment] = attack
    for row in evidence.database.rows if evidence.database is not None else ():
        attack_by_sid = by_sid.get(row.sid)
        if attack_by_sid is not None and (
            row.sid not in honest
            or (row.user, row.increment) == (attack_by_sid.user, attack_by_sid.increment)
        ):
            inquiry.violation(
                f"{_named(attack_by_sid)} has ledger row {row.sid}, {row.outcome}, seq {row.seq}"
            )
        elif row.sid not in honest and (row.user, row.increment) in by_body:
            inquiry.violation(
                f"{_named(by_body[row.user, row.increment])} seems to have ledger row {row.sid}, "
                f"seq {row.seq}: same user and increment, and nobody honest sent it"
            )


def _changes(inquiry: Inquiry, evidence: Evidence) -> None:
    honest = {(s.user, s.increment) for s in evidence.submissions}
    shown = {(c.user, c.increment): c.seq for c in evidence.changes if c.increment is not None}
    for attack in evidence.attacks:
        name = evidence.names.get(attack.user)
        if name is None or (attack.user, attack.increment) in honest:
            continue
        seq = shown.get((name, attack.increment))
        if seq is not None:
            inquiry.violation(f"{_named(attack)} shows on the streams as change {seq}")
