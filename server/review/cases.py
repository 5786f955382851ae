"""The cases as a reviewer lists them: which are asked for, and how each is shown.

Reads the ledger. Needs a token with `scores:review`. Not how a case ends: see `decisions`.
"""

from collections.abc import Mapping, Sequence

import msgspec

from scoreboard import ids
from scoreboard.domain import MAX_USER_ID
from scoreboard.errors import FORBIDDEN, MALFORMED, NOT_FOUND, Problem
from scoreboard.fraud import Reason
from scoreboard.tokens import SCOPE_REVIEW, Principal
from server.backends.case_queries import CaseFilter
from server.backends.mysql import Case, LedgerReader
from server.board.query import Window, parse_flag, parse_number, parse_text, parse_window
from server.board.readable import readable

CASES_MAX = 200
UNREADABLE = "cases_unreadable", "Cases"
TIME_MAX_US = 2**53 - 1
RULES = tuple(reason.value for reason in Reason)


class CaseView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One case as GET /admin/reviews shows it; times are microseconds since the Unix epoch."""

    submission_id: str
    user_id: int
    user: str | None
    increment: int
    outcome: str
    reasons: list[str]
    opened_at_us: int
    decision: str | None
    decided_by: str | None
    decided_at_us: int | None


class HolderView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A user with open cases, as GET /admin/reviews/users shows one."""

    user_id: int
    user: str | None
    open_cases: int
    oldest_opened_at_us: int


class CasesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which cases are asked for; `after` is the last one that the client has."""

    wanted: CaseFilter
    limit: int
    after: bytes | None


def parse_cases_request(arguments: Mapping[str, Sequence[str]]) -> CasesRequest:
    """The query of GET /admin/reviews. Raises Problem (malformed)."""
    after = parse_text(arguments, "after")
    try:
        after_id = None if after is None else ids.parse(after)
    except ValueError:
        raise Problem(MALFORMED, "after must be the id of a held submission.") from None
    rule = parse_text(arguments, "rule")
    if rule is not None and rule not in RULES:
        raise Problem(MALFORMED, f"rule must be one of {', '.join(RULES)}.")
    return CasesRequest(
        wanted=CaseFilter(
            open_only=not parse_flag(arguments, "all"),
            user_id=parse_number(arguments, "user", 0, least=1, most=MAX_USER_ID) or None,
            rule=rule,
            opened_before_us=parse_number(arguments, "openedBeforeUs", 0, least=1, most=TIME_MAX_US)
            or None,
        ),
        limit=parse_number(arguments, "limit", CASES_MAX, least=1, most=CASES_MAX),
        after=after_id,
    )


def may_review(principal: Principal) -> None:
    """Raises Problem (forbidden) unless the token carries the scope."""
    if SCOPE_REVIEW not in principal.scopes:
        raise Problem(FORBIDDEN, "This token may not review submissions.")


async def cases(ledger: LedgerReader, request: CasesRequest) -> list[CaseView]:
    """The next cases. Raises Problem: not_found, unavailable."""
    with readable(*UNREADABLE):
        place = None
        if request.after is not None:
            place = await ledger.place_of(request.after)
            if place is None:
                raise Problem(NOT_FOUND, "after must be the id of a held submission.")
        return [_view(case) for case in await ledger.cases(request.wanted, request.limit, place)]


def parse_holders_request(arguments: Mapping[str, Sequence[str]]) -> Window:
    """The query of GET /admin/reviews/users. Raises Problem (malformed)."""
    return parse_window(arguments, usual=CASES_MAX, most=CASES_MAX)


async def holders(ledger: LedgerReader, wanted: Window) -> list[HolderView]:
    """A page of the users with open cases, most cases first. Raises Problem: unavailable."""
    with readable(*UNREADABLE):
        found = await ledger.holders(wanted.limit, wanted.offset)
    return msgspec.convert(found, list[HolderView], from_attributes=True)


def _view(case: Case) -> CaseView:
    return CaseView(
        submission_id=ids.text(case.submission_id),
        user_id=case.user_id,
        user=case.user,
        increment=case.increment,
        outcome=case.outcome,
        reasons=case.reasons.split(),
        opened_at_us=case.opened_at_us,
        decision=case.decision,
        decided_by=None if case.decided_by is None else case.decided_by.decode(),
        decided_at_us=case.decided_at_us,
    )
