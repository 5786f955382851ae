"""I9, rate limits: never more in any window than promised, never a refusal below it.

When the server counted an admission is known only as an interval: from the first attempt sent
to the first ok answer. So a window is *certainly* overfull when it wholly contains too many
intervals, and a refusal is *certainly* wrong when too few intervals could reach its window.
Nothing in between is judged.

A limiter that counts in Redis forgets with it. A window that spans a loss of Redis' data may
therefore admit the limit once before and once after, never more; every other window is exact.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict

from harness.checker.evidence import Evidence, FaultSpan, Submission
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.history import Outcome

FORGETTING = frozenset({"flushall", "comes back empty", "both Redis come back empty"})
"""Kinds of fault after which Redis has no memory."""
LOSES_WRITES = frozenset(
    {
        *("Sentinel fail-over", "Redis promotion that loses writes", "no Sentinel quorum"),
        *("rolling restart of everything", "network split", "one-way loss"),
    }
)
"""Kinds after which another Redis may answer, which lacks the last writes: replication there never
waits."""
REDIS_PAIR = frozenset({"redis1", "redis2"})
"""Hosts of which one takes over when the other is away, whatever befell it."""


def loses_writes(fault: FaultSpan) -> bool:
    """Whether Redis may lack its last writes after this fault, without knowing it."""
    return fault.kind in LOSES_WRITES or fault.target in REDIS_PAIR


def forgets(fault: FaultSpan) -> bool:
    """Whether Redis may lack writes after this fault."""
    return fault.kind in FORGETTING or loses_writes(fault)


TITLE = "no window admits more than the limit, none refuses below it, repeats are free"


def check(evidence: Evidence, *, slack_ms: int = 50) -> Finding:
    """The verdict on I9. `slack_ms` allows for the server's clock being read elsewhere."""
    inquiry = Inquiry("I9 limits", TITLE, evidence.flaws)
    limits = evidence.limits
    if limits is None:
        inquiry.doubt("the limit is not known: no limits record")
        return inquiry.conclude("nothing")
    by_user: dict[int, list[Submission]] = defaultdict(list)
    for submission in evidence.submissions:
        by_user[submission.user].append(submission)
    slack_ns = slack_ms * 1_000_000
    window_ns = limits.window_ms * 1_000_000
    refused = 0
    full = 0
    for user, submissions in by_user.items():
        for part in _between_losses(evidence, submissions):
            full += _overfull(inquiry, user, part, limits.count, window_ns - slack_ns)
        _overfull(inquiry, user, submissions, 2 * limits.count, window_ns - slack_ns)
        refused += _refusals(inquiry, submissions, limits.count, window_ns + slack_ns)
    if not refused and not full:
        inquiry.doubt("no user came near the limit")
    return inquiry.conclude(
        f"{len(by_user)} users, {refused} refusals, limit {limits.count} in {limits.window_ms} ms"
    )


def _between_losses(evidence: Evidence, submissions: list[Submission]) -> list[list[Submission]]:
    """The submissions admitted wholly between two losses of Redis' data, for each such span."""
    losses = [fault for fault in evidence.faults if forgets(fault)]
    parts = []
    start_ns = 0
    for loss in [*losses, None]:
        end_ns = evidence.ended_ns if loss is None else loss.inject_ns
        parts.append(
            [
                s
                for s in submissions
                if s.ok_ns is not None and s.invoked_ns >= start_ns and s.ok_ns <= end_ns
            ]
        )
        if loss is not None:
            # A promotion comes when the fault is lifted.
            over_ns = loss.over_ns if loses_writes(loss) else loss.heal_ns
            start_ns = evidence.ended_ns if over_ns is None else over_ns
    return parts


def _overfull(
    inquiry: Inquiry, user: int, submissions: list[Submission], count: int, window_ns: int
) -> int:
    """1 when some window was at least filled; a violation when one was certainly overfilled.

    Sweeps the intervals by their end and keeps the starts in order: those that start after
    `end - window` lie wholly inside it.
    """
    intervals = sorted((s.ok_ns, s.invoked_ns, s.name) for s in submissions if s.ok_ns is not None)
    if len(intervals) < count:
        return 0
    starts: list[int] = []
    filled = 0
    for end_ns, start_ns, name in intervals:
        insort(starts, start_ns)
        inside = len(starts) - bisect_right(starts, end_ns - window_ns)
        filled |= inside >= count
        if inside > count:
            inquiry.violation(
                f"user {user}: {inside} submissions admitted within {window_ns / 1e6:.0f} ms, "
                f"limit {count}; the last was {name}"
            )
            break
    return filled


def _refusals(inquiry: Inquiry, submissions: list[Submission], count: int, window_ns: int) -> int:
    """How many refusals there were; a violation for each that was certainly wrong."""
    refusals = [
        (attempt.invoked_ns, attempt.done_ns, submission)
        for submission in submissions
        for attempt in submission.attempts
        if attempt.status == 429 and attempt.done_ns is not None
    ]
    if not refusals:
        return 0
    # An unknown attempt may be admitted at any later moment, also long after its client left.
    starts = sorted(s.invoked_ns for s in submissions if s.outcome is not Outcome.FAIL)
    ends = sorted(s.ok_ns for s in submissions if s.ok_ns is not None)
    for invoked_ns, done_ns, submission in refusals:
        if submission.ok_ns is not None and submission.ok_ns < invoked_ns:
            inquiry.violation(f"{submission} was refused as too many after it had been accepted")
            continue
        possible = bisect_left(starts, done_ns) - bisect_left(ends, invoked_ns - window_ns)
        # Its own later admission cannot have counted against it.
        if submission.outcome is not Outcome.FAIL and submission.invoked_ns < done_ns:
            possible -= 1
        if possible < count:
            inquiry.violation(
                f"{submission} was refused with 429 when at most {possible} others could count, "
                f"limit {count}"
            )
    return len(refusals)
