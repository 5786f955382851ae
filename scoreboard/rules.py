"""What decides the outcome of submissions. Not where users and ledger are kept.

Two steps share the work. `screen` judges each submission by itself before the
transaction; `settle` runs inside it, on locked rows, and is the last word.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from scoreboard.domain import MAX_INCREMENT, MAX_SCORE, LedgerRow, Outcome, Submission, User


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
) -> Settlement:
    """Decide a batch against locked users, in the order given.

    `decided` holds the ids that the ledger already has: they keep their first
    outcome and are left out, as is a second appearance of an id in the batch.
    Each applied submission takes the next number after `seq`, so the numbers
    of the result are gapless.
    """
    totals: dict[int, User] = {}
    rows: list[LedgerRow] = []
    seen = set(decided)
    for submission, outcome in screened:
        if submission.id in seen:
            continue
        seen.add(submission.id)
        if outcome is Outcome.APPLIED:
            user = totals.get(submission.user_id) or users.get(submission.user_id)
            if user is None:
                outcome = Outcome.UNKNOWN_USER
            elif not 0 <= user.score + submission.increment <= MAX_SCORE:
                outcome = Outcome.SCORE_OUT_OF_RANGE
            else:
                seq += 1
                total = user.score + submission.increment
                totals[user.id] = User(id=user.id, name=user.name, score=total, seq=seq)
                rows.append(
                    LedgerRow(submission=submission, outcome=outcome, seq=seq, score_after=total)
                )
                continue
        rows.append(LedgerRow(submission=submission, outcome=outcome))
    return Settlement(rows=rows, users=[totals[key] for key in sorted(totals)], last_seq=seq)


def order_key(user: User) -> tuple[int, int, int]:
    """Sort key of the board, best first: score, then who reached it first, then id."""
    return (-user.score, user.seq, user.id)


def top(users: Iterable[User], limit: int) -> Sequence[User]:
    """The best `limit` users in board order."""
    return sorted(users, key=order_key)[:limit]
