"""I1, exactly once: every accepted submission has one effect, a failed one none.

With a witness, submissions are matched with ledger rows by id. Without, with the changes that
streams showed, by user and increment: a run whose increments are unique per user makes that
exact, else counts are compared.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from harness.checker.evidence import Evidence, Submission
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.history import Outcome
from harness.evidence.witness import Row
from scoreboard.domain import MAX_INCREMENT, MAX_SCORE

TITLE = "every accepted submission took effect exactly once, a refused one never"


def check(evidence: Evidence) -> Finding:
    """The verdict on I1."""
    inquiry = Inquiry("I1 exactly once", TITLE)
    for flaw in evidence.flaws:
        inquiry.doubt(flaw)
    rejectable = Rejections(evidence)
    if evidence.witness is not None:
        _by_rows(inquiry, evidence, evidence.witness.rows, rejectable)
        against = f"{len(evidence.witness.rows)} ledger rows"
    else:
        _by_increments(inquiry, evidence, rejectable)
        against = f"{len(evidence.changes)} changes on the streams"
    tally = Counter(submission.outcome for submission in evidence.submissions)
    if not tally[Outcome.OK]:
        inquiry.doubt("no submission was accepted")
    return inquiry.conclude(
        f"{tally[Outcome.OK]} accepted, {tally[Outcome.FAIL]} refused, "
        f"{tally[Outcome.UNKNOWN]} unknown submissions against {against}"
    )


SET_ASIDE = frozenset({"held", "rejected_by_review"})
"""Outcomes by which a person, not a rule that can be checked here, decides about the points."""


class Rejections:
    """Which accepted submissions the rules may have turned down later, in the workflow.

    The range of a user's scores is all that is known of the moment of the decision, so this
    is generous: it excuses a rejection that was possible at some moment of the run.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._names = evidence.names
        low: dict[str, int] = dict(evidence.base)
        high: dict[str, int] = dict(evidence.base)
        for change in evidence.changes:
            low[change.user] = min(low.get(change.user, change.score), change.score)
            high[change.user] = max(high.get(change.user, change.score), change.score)
        self._low, self._high = low, high

    def possible(self, submission: Submission) -> bool:
        """Whether a rule could have rejected it at some moment of the run."""
        if not 0 < abs(submission.increment) <= MAX_INCREMENT:
            return True
        name = self._names.get(submission.user)
        if name is None or name not in self._low:
            return True
        return (
            self._low[name] + submission.increment < 0
            or self._high[name] + submission.increment > MAX_SCORE
        )


def _by_rows(
    inquiry: Inquiry, evidence: Evidence, rows: Iterable[Row], rejectable: Rejections
) -> None:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.sid].append(row)
    unnamed: Counter[tuple[str, int, int]] = Counter()
    for submission in evidence.submissions:
        if submission.sid is None:
            if submission.outcome is Outcome.UNKNOWN:
                unnamed[submission.principal, submission.user, submission.increment] += 1
            elif submission.outcome is Outcome.OK:
                inquiry.doubt(f"{submission} was accepted under no id")
            continue
        mine = found.pop(submission.sid, [])
        if len(mine) > 1:
            inquiry.violation(
                f"{submission} has {len(mine)} ledger rows: seq "
                + ", ".join(str(row.seq) for row in mine)
            )
        elif mine:
            _compare(inquiry, submission, mine[0], rejectable)
        elif submission.outcome is Outcome.OK:
            _lost(inquiry, evidence, submission, "the ledger has no row for it")
    for left in found.values():
        for row in left:
            if row.committed_us < evidence.started_unix_us:
                continue
            if unnamed[row.principal, row.user, row.increment] > 0:
                unnamed[row.principal, row.user, row.increment] -= 1
                continue
            inquiry.violation(
                f"ledger row {row.sid} (seq {row.seq}, user {row.user}, {row.increment:+d}, "
                f"principal {row.principal}) belongs to no submission that was sent"
            )


def _compare(inquiry: Inquiry, submission: Submission, row: Row, rejectable: Rejections) -> None:
    if submission.outcome is Outcome.FAIL:
        statuses = [attempt.status for attempt in submission.attempts]
        inquiry.violation(
            f"{submission} was refused with {statuses}, yet the ledger has it as "
            f"{row.outcome} with seq {row.seq}"
        )
    if (row.principal, row.user, row.increment) != (
        submission.principal,
        submission.user,
        submission.increment,
    ):
        inquiry.violation(
            f"{submission} of principal {submission.principal} is in the ledger as user "
            f"{row.user}, {row.increment:+d}, principal {row.principal} (seq {row.seq})"
        )
    elif row.seq is None and row.outcome not in SET_ASIDE and not rejectable.possible(submission):
        inquiry.violation(
            f"{submission} was rejected as {row.outcome}, which no rule allowed at any moment"
        )


def _by_increments(inquiry: Inquiry, evidence: Evidence, rejectable: Rejections) -> None:
    accepted: dict[tuple[str, int], list[Submission]] = defaultdict(list)
    unknown: Counter[tuple[str, int]] = Counter()
    for submission in evidence.submissions:
        name = evidence.names.get(submission.user)
        if name is None:
            inquiry.doubt(f"the roster does not name user {submission.user}")
            continue
        if submission.outcome is Outcome.OK:
            accepted[name, submission.increment].append(submission)
        elif submission.outcome is Outcome.UNKNOWN:
            unknown[name, submission.increment] += 1
    seen: dict[tuple[str, int], list[int]] = defaultdict(list)
    for change in evidence.changes:
        if change.increment is None:
            inquiry.doubt("the streams show users whose first score is not known: no board record")
        else:
            seen[change.user, change.increment].append(change.seq)
    for (name, increment), seqs in seen.items():
        sent = accepted.get((name, increment), [])
        if len(seqs) > len(sent) + unknown[name, increment]:
            who = ", ".join(str(submission) for submission in sent[:3]) or "nothing sent"
            inquiry.violation(
                f"{name} changed by {increment:+d} {len(seqs)} times (seq "
                f"{', '.join(map(str, seqs[:6]))}), accepted {len(sent)}, unknown "
                f"{unknown[name, increment]}: {who}"
            )
    for (name, increment), sent in accepted.items():
        lacking = len(sent) - len(seen.get((name, increment), ()))
        binding = [submission for submission in sent if not rejectable.possible(submission)]
        if lacking > 0 and len(binding) > len(sent) - lacking:
            _lost(
                inquiry,
                evidence,
                binding[-1],
                f"{name} changed by {increment:+d} only {len(sent) - lacking} times for "
                f"{len(sent)} accepted",
            )


def _lost(inquiry: Inquiry, evidence: Evidence, submission: Submission, how: str) -> None:
    if evidence.drained:
        inquiry.violation(f"{submission} was accepted and is lost: {how}")
    else:
        inquiry.doubt(f"{submission} was accepted; {how}, but the run had not settled")
