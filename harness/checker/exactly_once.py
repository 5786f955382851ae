"""I1, exactly once: every accepted submission has one effect, a failed one none. I8, answers: all
ok replies for one key agree, and the same key and body is never refused.

With the database's rows, submissions are matched with them by id. Without, with the changes that
streams showed, by user and increment: a run whose increments are unique per user makes that
exact, else counts are compared. Where nobody knows which name belongs to which user, the boards
before and after are compared by their numbers and points.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from harness.checker.evidence import Evidence, Submission
from harness.checker.histories.timeline import lost_by
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.database_snapshot import Row
from harness.evidence.history import FinalBoard, Outcome
from scoreboard.domain import MAX_INCREMENT, MAX_SCORE

TITLE = "every accepted submission took effect exactly once, a refused one never"
TITLE_ANSWERS = "repeats of one submission get the same answer"


def check(evidence: Evidence, *, rejections_allowed: bool = True) -> Finding:
    """The verdict on I1.

    With `rejections_allowed` false every accepted submission must be applied: the run sent
    nothing that a rule could turn down.
    """
    inquiry = Inquiry("I1 exactly once", TITLE, evidence.flaws)
    rejectable = Rejections(evidence)
    tally = Counter(submission.outcome for submission in evidence.submissions)
    counts: Counter[str] = Counter(
        {"acknowledged": tally[Outcome.OK], "unknown": tally[Outcome.UNKNOWN]}
    )
    if evidence.database is not None:
        _by_rows(inquiry, evidence, counts, None if not rejections_allowed else rejectable)
        against = f"{len(evidence.database.rows)} ledger rows"
    elif evidence.final_board is not None and not evidence.names:
        _by_totals(inquiry, evidence, evidence.final_board, counts)
        against = "the board before and after: a loss and a duplicate may cancel out"
    elif evidence.flaws and not evidence.names:
        inquiry.doubt("there is no board at the end, and nobody knows whose name is whose")
        against = f"{len(evidence.changes)} changes on the streams, under names of nobody known"
    else:
        _by_increments(inquiry, evidence, rejectable)
        against = f"{len(evidence.changes)} changes on the streams"
    if not tally[Outcome.OK]:
        inquiry.doubt("no submission was accepted")
    return inquiry.conclude(
        f"{tally[Outcome.OK]} accepted, {tally[Outcome.FAIL]} refused, "
        f"{tally[Outcome.UNKNOWN]} unknown submissions against {against}",
        counts,
    )


SET_ASIDE = frozenset({"held", "rejected_by_review", "too_many_cases"})
"""Outcomes of suspicious gains, which no rule that can be checked here decides about."""


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
    inquiry: Inquiry, evidence: Evidence, counts: Counter[str], rejectable: Rejections | None
) -> None:
    """Match by submission id. Without `rejectable` no rejection is excused."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in evidence.database.rows if evidence.database is not None else ():
        found[row.sid].append(row)
    unnamed: Counter[tuple[str, int, int]] = Counter()
    named: dict[str, Submission] = {}
    # Gone with the store that worked on it: I11 names it.
    excused = lost_by(evidence.losses, "temporal")
    rejected: Counter[str] = Counter()
    for submission in evidence.submissions:
        if submission.sid is None:
            if submission.outcome is Outcome.UNKNOWN:
                unnamed[submission.principal, submission.user, submission.increment] += 1
            elif submission.outcome is Outcome.OK:
                inquiry.doubt(f"{submission} was accepted under no id")
            continue
        if (first := named.setdefault(submission.sid, submission)) is not submission:
            inquiry.violation(f"{submission} was given the id {submission.sid} of {first}")
            continue
        mine = found.pop(submission.sid, [])
        if len(mine) > 1:
            inquiry.violation(
                f"{submission} has {len(mine)} ledger rows: seq "
                + ", ".join(str(row.seq) for row in mine)
            )
        elif mine:
            counts["applied_once"] += mine[0].seq is not None
            rejected[mine[0].outcome] += mine[0].seq is None
            _compare(inquiry, submission, mine[0], rejectable)
        elif submission.outcome is Outcome.OK:
            gone = submission.sid in excused
            counts["lost_by_temporal" if gone else "lost"] += 1
            _lost(inquiry, evidence, submission, "the ledger has no row for it", excused=gone)
    if rejectable is None:
        # `+` keeps the outcomes that occurred.
        for outcome, count in (+rejected).items():
            counts["rejected"] += count
            inquiry.violation(f"{count:,} accepted submissions were decided {outcome}")
    _rows_left(inquiry, evidence, counts, found.values(), unnamed)


def _rows_left(
    inquiry: Inquiry,
    evidence: Evidence,
    counts: Counter[str],
    left: Iterable[list[Row]],
    unnamed: Counter[tuple[str, int, int]],
) -> None:
    """Each row that no accepted submission explains must be that of a lost answer."""
    for rows in left:
        for row in rows:
            if row.committed_us < evidence.started_unix_us:
                continue
            if unnamed[row.principal, row.user, row.increment] > 0:
                unnamed[row.principal, row.user, row.increment] -= 1
                counts["unknown_applied"] += 1
                continue
            counts["unexplained"] += 1
            if not evidence.incomplete:
                inquiry.violation(
                    f"ledger row {row.sid} (seq {row.seq}, user {row.user}, {row.increment:+d}, "
                    f"principal {row.principal}) belongs to no submission that was sent"
                )
    if evidence.incomplete and counts["unexplained"]:
        inquiry.doubt(
            f"{counts['unexplained']:,} ledger rows belong to no submission in the histories, "
            "of which a part is missing"
        )


def _by_totals(
    inquiry: Inquiry, evidence: Evidence, after: FinalBoard, counts: Counter[str]
) -> None:
    """The black-box form: seq and total points grew by what was acknowledged.

    Lost answers widen both to an interval. Cannot see a loss and a duplicate of the same size
    cancel out.
    """
    before = evidence.board
    if before is None:
        inquiry.doubt("the first board is not known: no board record and no database snapshot")
        return
    points = {
        outcome: [s.increment for s in evidence.submissions if s.outcome is outcome]
        for outcome in (Outcome.OK, Outcome.UNKNOWN)
    }
    ok, unknown = len(points[Outcome.OK]), len(points[Outcome.UNKNOWN])
    earned = sum(points[Outcome.OK])
    least = earned + sum(min(0, increment) for increment in points[Outcome.UNKNOWN])
    most = earned + sum(max(0, increment) for increment in points[Outcome.UNKNOWN])
    grown = after.seq - before.seq
    gained = sum(score for _, score in after.scores) - sum(score for _, score in before.scores)
    counts.update(changes=grown, points_acknowledged=earned, points_gained=gained)
    _within(
        inquiry,
        evidence,
        (ok, grown, ok + unknown),
        f"{grown:,} changes for {ok:,} acknowledged submissions"
        + (f" and {unknown:,} unknown ones" if unknown else ""),
    )
    _within(
        inquiry,
        evidence,
        (least, gained, most),
        f"the board gained {gained:,} points, acknowledged were {earned:,}"
        + (f" and up to {most - earned:,} unknown" if unknown else ""),
    )


def _within(
    inquiry: Inquiry, evidence: Evidence, bounds: tuple[int, int, int], sentence: str
) -> None:
    """Least, found, most: too much is no proof where submissions may be missing."""
    least, found, most = bounds
    if found > most and evidence.incomplete:
        inquiry.doubt(f"{sentence}; a part of the histories is missing")
    elif found > most or (found < least and evidence.drained):
        inquiry.violation(sentence)
    elif found < least:
        inquiry.doubt(f"{sentence}, but the run had not settled")


def _compare(
    inquiry: Inquiry, submission: Submission, row: Row, rejectable: Rejections | None
) -> None:
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
    elif (
        rejectable is not None
        and row.seq is None
        and row.outcome not in SET_ASIDE
        and not rejectable.possible(submission)
    ):
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


def _lost(
    inquiry: Inquiry,
    evidence: Evidence,
    submission: Submission,
    how: str,
    *,
    excused: bool = False,
) -> None:
    if excused:
        return
    if evidence.drained:
        inquiry.violation(f"{submission} was accepted and is lost: {how}")
    else:
        inquiry.doubt(f"{submission} was accepted; {how}, but the run had not settled")


def check_answers(evidence: Evidence) -> Finding:
    """The verdict on I8. The answers compared are the submission ids in them."""
    inquiry = Inquiry("I8 answers", TITLE_ANSWERS, evidence.flaws)
    repeated = 0
    for submission in evidence.submissions:
        attempts = submission.attempts
        if len(attempts) < 2 and submission.sid is None:
            continue
        repeated += len(attempts) > 1
        sids = {a.sid for a in attempts if a.outcome is Outcome.OK}
        if len(sids) > 1:
            inquiry.violation(
                f"{submission} was answered with different ids: {sorted(map(str, sids))}"
            )
        elif sids and submission.key is not None and submission.sid not in sids:
            inquiry.violation(
                f"{submission} was answered with id {sids.pop()}, its key makes it {submission.sid}"
            )
        reused = [a for a in attempts if a.code == "idempotency_key_reused"]
        if reused:
            inquiry.violation(
                f"{submission}: attempt {reused[0].number} had the same key and body and was "
                "refused as another body"
            )
    if not repeated:
        inquiry.doubt("no submission was repeated")
    return inquiry.conclude(f"{repeated} submissions that were sent more than once")
