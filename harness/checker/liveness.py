"""I10, liveness: once faults are healed, every accepted submission becomes visible in time."""

from bisect import bisect_left
from itertools import accumulate

from harness.checker.evidence import Evidence, Submission
from harness.checker.exactly_once import Rejections
from harness.checker.histories.timeline import lost_by
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.history import Outcome

TITLE = "every accepted submission is seen by a listener in time once faults are healed"

IN_PIECES = 4
"""Between faults a submission may take this many times longer, in sum. What a fault cuts off is
tried again after a timeout of many seconds, and the next fault may cut off that attempt too."""


def check(evidence: Evidence, *, visible_within_s: float = 15.0) -> Finding:
    """The verdict on I10.

    What counts is the time from its ok answer to its sight in which the system was undoubtedly
    healthy: no fault in force, and a fresh submission had come through since the last. No
    stretch of it may be longer than `visible_within_s`, nor all together than `IN_PIECES` times
    that, which holds where faults come too close for such a stretch. Without the database changes
    are matched with submissions by user and increment, where that is unambiguous. A board that
    a listener is given to go on from shows every change up to its number, also those that no
    listener was sent one by one; whether it had to be given is for I5.
    """
    inquiry = Inquiry("I10 liveness", TITLE, evidence.flaws)
    followed = _Followed(evidence, int(visible_within_s * 1e9))
    for submission in evidence.submissions:
        if submission.outcome is Outcome.OK and submission.ok_ns is not None:
            followed.follow(inquiry, submission, submission.ok_ns)
    for fault in evidence.faults:
        if fault.gave_up:
            inquiry.violation(
                f"after fault {fault.number} ({fault.kind} on {fault.target}) was healed, no fresh "
                "submission came through to a listener for as long as the run waited"
            )
    if not followed.judged:
        inquiry.doubt("no accepted submission could be followed to a listener")
    return inquiry.conclude(
        f"{followed.judged} submissions followed, slowest {followed.worst_ms:.0f} ms, allowed "
        f"without faults {visible_within_s:g} s in one piece, {IN_PIECES * visible_within_s:g} s "
        "in all"
    )


class _Followed:
    """Follows accepted submissions to their first sight."""

    def __init__(self, evidence: Evidence, within_ns: int) -> None:
        self.judged = 0
        self.worst_ms = 0.0
        self._evidence = evidence
        self._within_ns = within_ns
        self._seqs = _seq_of_submission(evidence)
        self._rejectable = Rejections(evidence)
        self._boards = _Boards(evidence)
        # Decided without a change: whether that was right is I1's question.
        rows = evidence.database.rows if evidence.database is not None else ()
        self._settled_otherwise = {row.sid for row in rows if row.seq is None}
        # What MySQL lost is late by as much as nobody had replayed it; what Temporal lost is gone.
        self._replayed = lost_by(evidence.losses, "mysql")
        decided = {row.sid for row in rows}
        self._settled_otherwise |= lost_by(evidence.losses, "temporal") - decided

    def follow(self, inquiry: Inquiry, submission: Submission, ok_ns: int) -> None:
        """Judge the time from its ok answer to its sight, if it had to be seen."""
        evidence = self._evidence
        seq = self._seqs.get(submission.name)
        event = evidence.events.get(seq) if seq is not None else None
        seen_ns = event.time_ns if event is not None else self._boards.shown_ns(seq)
        if seen_ns is None:
            if evidence.drained and evidence.listens and self._had_to_be_seen(submission, seq):
                inquiry.violation(f"{submission} (seq {seq}) was never seen by any listener")
            return
        self.judged += 1
        self.worst_ms = max(self.worst_ms, (seen_ns - ok_ns) / 1e6)
        if seen_ns - ok_ns <= self._within_ns or submission.sid in self._replayed:
            return
        healthy = evidence.healthy_ns(ok_ns, seen_ns)
        longest_ns, total_ns = max(healthy, default=0), sum(healthy)
        if longest_ns > self._within_ns or total_ns > IN_PIECES * self._within_ns:
            inquiry.violation(
                f"{submission} was accepted and seen as change {seq} "
                f"{(seen_ns - ok_ns) / 1e9:.1f} s later, {total_ns / 1e9:.1f} s of it "
                f"without a fault, {longest_ns / 1e9:.1f} s in one piece"
            )

    def _had_to_be_seen(self, submission: Submission, seq: int | None) -> bool:
        if submission.sid in self._settled_otherwise:
            return False
        if seq is not None:
            return True
        return self._evidence.database is not None and not self._rejectable.possible(submission)


class _Boards:
    """When listeners were first given a board that includes a change."""

    def __init__(self, evidence: Evidence) -> None:
        given = sorted(
            (listen.time_ns, listen.seq)
            for listens in evidence.listens.values()
            for listen in listens
            if listen.what in ("reset", "snapshot") and listen.seq is not None
        )
        self._times = [time_ns for time_ns, _ in given]
        self._reached = list(accumulate((seq for _, seq in given), max))

    def shown_ns(self, seq: int | None) -> int | None:
        """The first moment at which a listener had a board at or after `seq`."""
        if seq is None:
            return None
        at = bisect_left(self._reached, seq)
        return self._times[at] if at < len(self._times) else None


def _seq_of_submission(evidence: Evidence) -> dict[str, int]:
    """Which change each submission became, where that can be told."""
    if evidence.database is not None:
        by_sid = {change.sid: change.seq for change in evidence.changes}
        return {s.name: by_sid[s.sid] for s in evidence.submissions if s.sid in by_sid}
    shown: dict[tuple[str, int], list[int]] = {}
    for change in evidence.changes:
        if change.increment is not None:
            shown.setdefault((change.user, change.increment), []).append(change.seq)
    sent: dict[tuple[str, int], list[str]] = {}
    for submission in evidence.submissions:
        name = evidence.names.get(submission.user)
        if name is not None:
            sent.setdefault((name, submission.increment), []).append(submission.name)
    return {
        names[0]: shown[body][0]
        for body, names in sent.items()
        if len(names) == 1 and len(shown.get(body, ())) == 1
    }
