"""Held submissions as reviewers get them: what is asked, and how the answers are decoded.

Not when to try again: see `retry`.
"""

from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from scoreboard import contract
from scoreboard_client.answers import Answer
from scoreboard_client.errors import BadAnswer

PAGE_MAX = 200
DECISIONS_MAX = 100
"""What the server takes at once."""

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class CaseFilter:
    """Which cases are asked for; None and False: any open one."""

    user: int | None = None
    rule: str | None = None
    opened_before_us: int | None = None
    decided_too: bool = False


ANY_OPEN = CaseFilter()


class HeldCase(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A held submission; `decision` is None while nobody has decided. Times are microseconds
    since the Unix epoch."""

    submission_id: str
    user_id: int
    user: str | None
    increment: int
    outcome: str
    reasons: tuple[str, ...]
    opened_at_us: int
    decision: str | None = None
    decided_by: str | None = None
    decided_at_us: int | None = None


class CaseHolder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A user with open cases."""

    user_id: int
    user: str | None
    open_cases: int
    oldest_opened_at_us: int


class CaseResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of one decision: `status` is that of its own request. 200 has the decision and
    the submission's outcome, a refusal a `code` and a `detail`."""

    submission_id: str
    status: int
    decision: str | None = None
    outcome: str | None = None
    code: str | None = None
    detail: str | None = None


def cases_path(wanted: CaseFilter, *, after: str | None, limit: int) -> str:
    """Where a page of cases is."""
    asked: dict[str, object] = {
        "all": 1 if wanted.decided_too else None,
        "user": wanted.user,
        "rule": wanted.rule,
        "openedBeforeUs": wanted.opened_before_us,
        "after": after,
        "limit": limit,
    }
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return f"{contract.REVIEWS_PATH}?{query}"


def cases_of(answer: Answer) -> tuple[HeldCase, ...]:
    """The cases of a 200. Raises BadAnswer."""
    return _decoded(_cases, answer)


def holders_of(answer: Answer) -> tuple[CaseHolder, ...]:
    """The users with open cases of a 200. Raises BadAnswer."""
    return _decoded(_holders, answer)


def results_of(answer: Answer) -> tuple[CaseResult, ...]:
    """The results of a 200. Raises BadAnswer."""
    return _decoded(_results, answer)


def _decoded(decoder: msgspec.json.Decoder[tuple[Item, ...]], answer: Answer) -> tuple[Item, ...]:
    try:
        return decoder.decode(answer.body)
    except msgspec.DecodeError as error:
        raise BadAnswer(f"the list is malformed: {error}") from error


_cases = msgspec.json.Decoder(tuple[HeldCase, ...])
_holders = msgspec.json.Decoder(tuple[CaseHolder, ...])
_results = msgspec.json.Decoder(tuple[CaseResult, ...])
