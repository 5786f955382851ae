"""Decisions of held submissions, one or many at a time.

A decision is an update of the case's workflow, which answers once the outcome is stored and
published. Repeating one is safe: the reviewer whose decision stands gets the same answer again.
Not which cases there are: see `cases`.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

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
from scoreboard.domain import Decision
from scoreboard.errors import (
    ALREADY_DECIDED,
    FORBIDDEN,
    INVALID,
    NOT_FOUND,
    UNAVAILABLE,
    Problem,
)
from scoreboard.strict_json import strict_json
from scoreboard.tokens import Principal
from server.backends.mysql import LedgerReader
from server.board.readable import readable
from server.review.cases import UNREADABLE
from server.submit.body import check_media_type

log = structlog.get_logger()

DECISION_TIMEOUT = timedelta(seconds=10)
DECISIONS = {"approve": Decision.APPROVED.value, "reject": Decision.REJECTED.value}

MANY_MAX = 100
"""Cases of one request, whose body stays below the limit of every body."""
MANY_AT_ONCE = 8
MANY_TIMEOUT_S = 8.0
"""Below what clients wait for an answer: cases that are not decided by then are to be repeated."""


class DecisionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /admin/reviews/{submissionId}."""

    decision: str


class CaseDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What is to become of one case."""

    submission_id: str
    decision: str


class DecisionsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /admin/reviews/decisions: 1 to MANY_MAX cases, each once."""

    decisions: Annotated[list[CaseDecision], msgspec.Meta(min_length=1, max_length=MANY_MAX)]


def parse_decision(content_type: str, body: bytes) -> DecisionRequest:
    """The decision in a request's body. Raises Problem: unsupported_media_type, invalid."""
    check_media_type(content_type)
    try:
        return msgspec.convert(strict_json(body), type=DecisionRequest)
    except (ValueError, RecursionError):
        raise Problem(INVALID, 'The body must be {"decision": "approve" or "reject"}.') from None


def parse_decisions(content_type: str, body: bytes) -> dict[bytes, DecisionRequest]:
    """The decisions in a request's body, in its order. Raises Problem as `parse_decision`."""
    check_media_type(content_type)
    try:
        listed = msgspec.convert(strict_json(body), type=DecisionsRequest).decisions
        decisions = {
            ids.parse(each.submission_id): DecisionRequest(each.decision) for each in listed
        }
    except (ValueError, RecursionError):
        raise Problem(
            INVALID,
            'The body must be {"decisions": [{"submissionId": a UUID, "decision": "approve" or'
            f' "reject"}}, …]}}, with 1 to {MANY_MAX} cases.',
        ) from None
    if len(decisions) < len(listed):
        raise Problem(INVALID, "One request decides a case once.")
    if not all(each.decision in DECISIONS for each in listed):
        raise Problem(INVALID, 'A decision is "approve" or "reject".')
    return decisions


class Decided(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer to a decision: the decision and the submission's final outcome."""

    submission_id: str
    decision: str
    outcome: str


class DecisionResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What POST /admin/reviews/{submissionId} would have answered for one of many cases."""

    status: int
    submission_id: str
    decision: str | None = None
    outcome: str | None = None
    code: str | None = None
    detail: str | None = None
    retry_after_s: int | None = None


async def decide_all(
    client: Client,
    ledger: LedgerReader,
    decisions: Mapping[bytes, DecisionRequest],
    principal: Principal,
    *,
    task_queue: str,
) -> list[DecisionResult]:
    """Decide many cases, each by itself; results in their order."""
    gate = asyncio.Semaphore(MANY_AT_ONCE)
    until = asyncio.get_running_loop().time() + MANY_TIMEOUT_S

    async def one(submission_id: bytes, request: DecisionRequest) -> DecisionResult:
        name = ids.text(submission_id)
        try:
            async with asyncio.timeout_at(until), gate:
                decided = await decide(
                    client, ledger, submission_id, request, principal, task_queue=task_queue
                )
        except TimeoutError:
            problem = Problem(UNAVAILABLE, "The decision's effect is unknown.", retry_after_s=1)
        except Problem as refusal:
            problem = refusal
        else:
            return DecisionResult(
                status=200, submission_id=name, decision=decided.decision, outcome=decided.outcome
            )
        return DecisionResult(
            status=problem.kind.status,
            submission_id=name,
            code=problem.kind.code,
            detail=problem.detail,
            retry_after_s=problem.retry_after_s,
        )

    return await asyncio.gather(*(one(*each) for each in decisions.items()))


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
    try:
        return await _decide(
            client, ledger, submission_id, decision, principal, task_queue=task_queue
        )
    except Problem as refusal:
        if refusal.kind is not ALREADY_DECIDED:
            raise
        with readable(*UNREADABLE):
            end = await ledger.case_end(submission_id)
        if end is None or (end.decision, end.decided_by) != (decision, principal.subject.encode()):
            raise
        return Decided(
            submission_id=ids.text(submission_id), decision=decision, outcome=end.outcome
        )


async def _decide(
    client: Client,
    ledger: LedgerReader,
    submission_id: bytes,
    decision: str,
    principal: Principal,
    *,
    task_queue: str,
) -> Decided:
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
