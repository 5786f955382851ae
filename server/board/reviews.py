"""Reviews of held submissions: the list of cases, and a decision.

Reads the ledger; a decision is an update of the case's workflow, which answers
once the outcome is stored and published. Needs a token with `scores:review`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from adapters.mysql import MYSQL_ERRORS
from adapters.reasons import reason_of
from scoreboard import contract, ids
from scoreboard.domain import MAX_USER_ID, Decision
from scoreboard.errors import (
    ALREADY_DECIDED,
    FORBIDDEN,
    INVALID,
    MALFORMED,
    NOT_FOUND,
    UNAVAILABLE,
    Problem,
)
from scoreboard.fraud import Reason
from scoreboard.strict_json import strict_json
from scoreboard.tokens import SCOPE_REVIEW, Principal
from server.backends.case_queries import CaseFilter
from server.backends.mysql import Case, LedgerReader
from server.board.query import parse_flag, parse_number, parse_text
from server.board.readable import readable
from server.submit.body import check_media_type

log = structlog.get_logger()

CASES_MAX = 200
UNREADABLE = "cases_unreadable", "Cases"
TIME_MAX_US = 2**53 - 1
RULES = tuple(reason.value for reason in Reason)
DECISION_TIMEOUT = timedelta(seconds=10)
DECISIONS = {"approve": Decision.APPROVED.value, "reject": Decision.REJECTED.value}


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


class DecisionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /admin/reviews/{submissionId}."""

    decision: str


def parse_decision(content_type: str, body: bytes) -> DecisionRequest:
    """The decision in a request's body. Raises Problem: unsupported_media_type, invalid."""
    check_media_type(content_type)
    try:
        return msgspec.convert(strict_json(body), type=DecisionRequest)
    except (ValueError, RecursionError):
        raise Problem(INVALID, 'The body must be {"decision": "approve" or "reject"}.') from None


class Decided(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer to a decision: the decision and the submission's final outcome."""

    submission_id: str
    decision: str
    outcome: str


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


async def holders(ledger: LedgerReader) -> list[HolderView]:
    """At most CASES_MAX users with open cases, most cases first. Raises Problem: unavailable."""
    with readable(*UNREADABLE):
        found = await ledger.holders(CASES_MAX)
    return msgspec.convert(found, list[HolderView], from_attributes=True)


async def decide(
    client: Client,
    ledger: LedgerReader,
    submission_id: bytes,
    request: DecisionRequest,
    principal: Principal,
    *,
    task_queue: str,
) -> Decided:
    """Decide a case. Raises Problem: invalid, forbidden, not_found, already_decided, unavailable.

    Nobody approves a gain of their own, nor one that they submitted for another user.
    After `unavailable` the effect is unknown; repeating the request is safe.
    """
    decision = DECISIONS.get(request.decision)
    if decision is None:
        raise Problem(INVALID, 'A decision is "approve" or "reject".')
    name = ids.text(submission_id)
    told = {"decision": decision, "decided_by": principal.subject}
    try:
        if decision == Decision.APPROVED:
            await _refuse_own_gain(ledger, submission_id, principal)
        try:
            state = await _update(client, name, told)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            if not await ledger.is_open(submission_id):
                raise
            # MySQL says that it is open: Temporal lost its workflow, or MySQL its end.
            await _open_again(client, name, task_queue)
            state = await _update(client, name, told)
    except WorkflowUpdateFailedError:
        raise Problem(ALREADY_DECIDED, "This case has been decided already.") from None
    except (
        WorkflowUpdateRPCTimeoutOrCancelledError,
        RPCError,
        TimeoutError,
        *MYSQL_ERRORS,
    ) as error:
        raise _translated(error) from None
    if state["decision"] != decision:
        # An earlier decision stands, whose answer was lost with its worker.
        raise Problem(ALREADY_DECIDED, "This case has been decided already.")
    log.info("case_decided", submission_id=name, decision=decision, by=principal.subject)
    return Decided(submission_id=name, decision=decision, outcome=str(state["outcome"]))


async def _refuse_own_gain(
    ledger: LedgerReader, submission_id: bytes, principal: Principal
) -> None:
    held = await ledger.outcome(submission_id)
    if held is not None and principal.subject in (str(held.user_id), held.principal.decode()):
        log.warning("own_gain_refused", submission_id=ids.text(submission_id))
        raise Problem(FORBIDDEN, "Another reviewer must approve this gain: it is your own.")


async def _update(client: Client, name: str, told: dict[str, str]) -> dict[str, Any]:
    handle = client.get_workflow_handle(contract.review_workflow_id(name))
    state: dict[str, Any] = await handle.execute_update(
        contract.REVIEW_DECIDE_UPDATE, told, result_type=dict, rpc_timeout=DECISION_TIMEOUT
    )
    return state


async def _open_again(client: Client, name: str, task_queue: str) -> None:
    log.warning("case_reopened", submission_id=name)
    await client.start_workflow(
        contract.REVIEW_WORKFLOW,
        name,
        id=contract.review_workflow_id(name),
        task_queue=task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        rpc_timeout=DECISION_TIMEOUT,
    )


def _translated(error: Exception) -> Problem:
    if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
        # Temporal gives the same status for an ended workflow and for an unknown one.
        if "completed" in error.message:
            return Problem(ALREADY_DECIDED, "This case has been decided already.")
        return Problem(NOT_FOUND, "There is no such case.")
    log.warning("decision_failed", error=reason_of(error))
    return Problem(UNAVAILABLE, "The decision's effect is unknown.", retry_after_s=1)


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
