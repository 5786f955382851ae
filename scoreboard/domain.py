"""The nouns of the scoreboard: submissions, outcomes, changes, standings.

Not how they are stored or sent: see `contract` for the wire, `rules` for what
decides an outcome. Structs are array-like so that a batch of hundreds encodes
to a few bytes per item.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from scoreboard.fraud import Activity, Reason

MAX_INCREMENT = 1_000_000
"""Largest absolute increment of one submission, in points."""

MAX_SCORE = 2**53 - 1
"""Largest total. Redis keeps sorted-set scores as doubles: beyond 2**53 they round."""

MAX_USER_ID = 2**53 - 1
"""Largest user id: exact in every JSON reader, also those that use doubles."""

MAX_PRINCIPAL_CHARS = 64
"""Longest subject of a token, in ASCII characters."""

SubmissionId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
PrincipalName = Annotated[str, msgspec.Meta(max_length=MAX_PRINCIPAL_CHARS)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What a column of the ledger can hold; the rules decide what is allowed."""


class Outcome(StrEnum):
    """What became of a submission; stored in the ledger, so values never change.

    The order stays, too: a batch in flight has verdicts by their place here.
    """

    APPLIED = "applied"
    UNKNOWN_USER = "unknown_user"
    INCREMENT_OUT_OF_RANGE = "increment_out_of_range"
    SCORE_OUT_OF_RANGE = "score_out_of_range"
    HELD = "held"
    REJECTED_BY_REVIEW = "rejected_by_review"
    TOO_MANY_CASES = "too_many_cases"
    """Suspicious, of a user whose open cases are as many as may wait: never held, not applied."""


class Decision(StrEnum):
    """How the review of a held submission ended; stored in the audit trail, so values never
    change."""

    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Submission(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A request to add `increment` points to a user.

    `id` is 16 bytes and names the submission everywhere; `principal` is the
    token's subject, who answers for it; `received_us` is the API's wall clock.
    The bounds hold for decoded submissions: constructing one checks nothing.
    """

    id: SubmissionId
    principal: PrincipalName
    user_id: Int64
    increment: Int64
    received_us: Int64


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user as MySQL has it; `seq` is the last change that touched the score."""

    id: int
    name: str
    score: int
    seq: int = 0
    activity: Activity = Activity()


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A decided submission. `seq` and `score_after` are None unless it was applied;
    `reasons` are there when it is held for review."""

    submission: Submission
    outcome: Outcome
    seq: int | None = None
    score_after: int | None = None
    reasons: tuple[Reason, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One applied submission as listeners see it: the user's total after `seq`.

    `removed`: the user is not on the board any more.
    """

    seq: int
    user_id: int
    name: str
    score: int
    committed_us: int
    removed: bool = False


class Standing(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One line of the board, as `GET /scores` answers it.

    Two users may have one name; `user_id` tells them apart. None: the server did not say.
    """

    user: str
    score: int
    user_id: int | None = msgspec.field(name="userId", default=None)
