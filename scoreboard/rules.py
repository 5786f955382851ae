"""What decides the outcome of submissions. Not where users and ledger are kept.

Two steps share the work. `screen` judges each submission by itself before the
transaction; `settle` runs inside it, on locked rows, and is the last word.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from scoreboard.domain import MAX_INCREMENT, MAX_SCORE, LedgerRow, Outcome, Submission, User
from scoreboard.fraud import FraudRules, judge, remember


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction writes: new ledger rows in order, and users with new totals.

    `users` is sorted by id, the order in which rows are locked and updated, so
    that concurrent transactions cannot deadlock. `last_seq` is the board's
    sequence number after it.
    """

    rows: list[LedgerRow]
    users: list[User]
    last_seq: int


def screen(submission: Submission, known_users: Collection[int]) -> Outcome:
    """Judge one submission without its user's total; APPLIED means "nothing against it"."""
    if not 0 < abs(submission.increment) <= MAX_INCREMENT:
        return Outcome.INCREMENT_OUT_OF_RANGE
    if submission.user_id not in known_users:
        return Outcome.UNKNOWN_USER
    return Outcome.APPLIED


def settle(
    screened: Iterable[tuple[Submission, Outcome]],
    *,
    users: Mapping[int, User],
    decided: Collection[bytes],
    seq: int,
    fraud: FraudRules | None = None,
    open_cases: Mapping[int, int] | None = None,
) -> Settlement:
    """Decide a batch against locked users, in the order given.

    `decided` holds the ids that the ledger already has: they keep their first
    outcome and are left out, as is a second appearance of an id in the batch.
    Each applied submission takes the next number after `seq`, so the numbers
    of the result are gapless. With `fraud`, suspicious gains are held, up to its
    number of cases for each user; `open_cases` are those that wait already.
    """
    totals: dict[int, User] = {}
    cases = dict(open_cases or ())
    rows: list[LedgerRow] = []
    seen = set(decided)
    for submission, outcome in screened:
        if submission.id in seen:
            continue
        seen.add(submission.id)
        user = totals.get(submission.user_id) or users.get(submission.user_id)
        if outcome is Outcome.APPLIED and user is None:
            outcome = Outcome.UNKNOWN_USER
        if outcome is not Outcome.APPLIED or user is None:
            rows.append(LedgerRow(submission=submission, outcome=outcome))
            continue
        row = _settle_one(submission, user, seq + 1, fraud)
        if row.outcome is Outcome.HELD and fraud is not None:
            row = _held_or_refused(row, cases, fraud.open_cases_max)
        rows.append(row)
        if row.seq is not None and row.score_after is not None:
            seq = row.seq
            totals[user.id] = credited(user, row.score_after, seq, submission, fraud)
    return Settlement(rows=rows, users=[totals[key] for key in sorted(totals)], last_seq=seq)


def credited(
    user: User, score: int, seq: int, submission: Submission, fraud: FraudRules | None
) -> User:
    """The user after an applied submission."""
    activity = user.activity
    if fraud is not None:
        activity = remember(
            submission.increment, activity=activity, now_s=_seconds(submission), rules=fraud
        )
    return User(id=user.id, name=user.name, score=score, seq=seq, activity=activity)


def _settle_one(
    submission: Submission, user: User, next_seq: int, fraud: FraudRules | None
) -> LedgerRow:
    total = user.score + submission.increment
    if not 0 <= total <= MAX_SCORE:
        return LedgerRow(submission=submission, outcome=Outcome.SCORE_OUT_OF_RANGE)
    if fraud is not None:
        reasons = judge(
            submission.increment,
            activity=user.activity,
            now_s=_seconds(submission),
            rules=fraud,
        )
        if reasons:
            return LedgerRow(submission=submission, outcome=Outcome.HELD, reasons=reasons)
    return LedgerRow(
        submission=submission, outcome=Outcome.APPLIED, seq=next_seq, score_after=total
    )


def _held_or_refused(row: LedgerRow, cases: dict[int, int], cases_max: int) -> LedgerRow:
    user_id = row.submission.user_id
    cases[user_id] = cases.get(user_id, 0) + 1
    if cases_max and cases[user_id] > cases_max:
        return LedgerRow(submission=row.submission, outcome=Outcome.TOO_MANY_CASES)
    return row


def _seconds(submission: Submission) -> int:
    """When the API received it: the same in every repetition of the work."""
    return submission.received_us // 1_000_000
