"""I11, one history: no number ever names two changes, nobody keeps a change that does not exist,
and what a store lost comes back or is named."""

from bisect import bisect_left

from harness.checker.evidence import Evidence
from harness.checker.histories.timeline import Ended, lost_by
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.history import Listen

TITLE = "no number names two changes, nobody keeps one that is gone, and what was lost comes back"


def check(evidence: Evidence) -> Finding:
    """The verdict on I11. Asked where stores lost something."""
    inquiry = Inquiry("I11 one history", TITLE, evidence.flaws)
    back = _returned(inquiry, evidence)
    _numbers(inquiry, evidence)
    told = 0
    for history in evidence.ended:
        shown = sum(change.seq in evidence.events for change in history.lost)
        for listener, records in evidence.listens.items():
            told += _told(inquiry, history, listener, records)
        if not shown:
            continue
        _served(inquiry, evidence, history)
    gone = lost_by(evidence.losses, "temporal") - _decided(evidence)
    accepted = [str(s) for s in evidence.submissions if s.sid in gone and s.ok_ns is not None]
    named = f": {', '.join(accepted[:5])}" if accepted else ""
    return inquiry.conclude(
        f"{len(evidence.ended)} histories ended, {told} listeners told; MySQL lost "
        f"{len(lost_by(evidence.losses, 'mysql'))} changes, {back} are back; Temporal lost "
        f"{len(accepted)} accepted submissions{named}",
        {"histories": len(evidence.ended), "back": back, "lost_by_temporal": len(accepted)},
    )


def _decided(evidence: Evidence) -> set[str]:
    rows = evidence.database.rows if evidence.database is not None else ()
    return {row.sid for row in rows}


def _returned(inquiry: Inquiry, evidence: Evidence) -> int:
    """What MySQL lost is in the ledger again, unless Temporal lost it, too."""
    decided = _decided(evidence)
    excused = lost_by(evidence.losses, "temporal")
    lost = lost_by(evidence.losses, "mysql")
    for sid in sorted(lost - decided - excused):
        if evidence.drained:
            inquiry.violation(f"MySQL lost submission {sid}, and no replay brought it back")
        else:
            inquiry.doubt(f"MySQL lost submission {sid}; the run had not settled")
    return len(lost & decided)


def _numbers(inquiry: Inquiry, evidence: Evidence) -> None:
    """The number of a lost change that somebody was shown names no other change."""
    lost = {change.seq: change for history in evidence.ended for change in history.lost}
    starts = {history.start for history in evidence.ended}
    for loss in evidence.losses:
        for sid, user, seq, score, _ in loss.rows:
            event = evidence.events.get(seq)
            if event is None or seq in lost or seq in starts:
                continue
            name = evidence.names.get(user, f"id {user}")
            if (event.user, event.score) == (name, score):
                inquiry.violation(
                    f"change {seq} ({name} {score}, submission {sid}) was sent to listeners and "
                    "lost, and no history ended: its number went on"
                )


def _told(inquiry: Inquiry, history: Ended, listener: str, records: list[Listen]) -> int:
    """1 when a listener that had a lost change was given another board; the changes of the next
    history without that are a violation."""
    cursor = -1
    for record in records:
        if record.what in ("reset", "snapshot") and record.seq is not None:
            if history.kept < cursor < history.start <= record.seq:
                return 1
            cursor = record.seq
        elif record.what == "range" and record.first is not None and record.last is not None:
            if history.kept < cursor < history.start < record.last:
                inquiry.violation(
                    f"{listener} had {cursor}, which is gone since the history ended at "
                    f"{history.kept}, and was given {record.first} to {record.last} without a reset"
                )
                return 0
            cursor = record.last
    return 0


def _served(inquiry: Inquiry, evidence: Evidence, history: Ended) -> None:
    """Once somebody has read the next history, no later read shows a lost change."""
    reads = sorted(evidence.reads, key=lambda read: read.done_ns)
    first = next((read for read in reads if read.seq >= history.start), None)
    if first is None:
        return
    later = sorted(evidence.reads, key=lambda read: read.invoked_ns)
    at = bisect_left([read.invoked_ns for read in later], first.done_ns)
    for read in later[at:]:
        if history.kept < read.seq < history.start:
            inquiry.violation(
                f"{read.client} read the board at {read.seq}, which is gone, "
                f"{(read.invoked_ns - first.done_ns) / 1e6:.0f} ms after {first.client} "
                f"had read the next history at {first.seq}"
            )
