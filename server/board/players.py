"""Managing players: an operator's order becomes a workflow, which answers once its effect is
stored and published. Needs a token with `scores:players`. What an order does: `scoreboard.players`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from adapters.reasons import reason_of
from scoreboard import contract, ids
from scoreboard.errors import (
    FORBIDDEN,
    INVALID,
    KEY_REUSED,
    MALFORMED,
    NOT_FOUND,
    PLAYER_EXISTS,
    UNAVAILABLE,
    Problem,
)
from scoreboard.players.effects import Refusal
from scoreboard.players.orders import Action, Order, encode_order, gains, parse_action
from scoreboard.strict_json import strict_json
from scoreboard.tokens import SCOPE_PLAYERS, Principal
from server.backends.mysql import LedgerReader, PlayerChangeRow
from server.board.readable import readable
from server.submit.body import check_media_type

log = structlog.get_logger()

PLAYERS_MAX = 1000
PLAYERS_DEFAULT = 100
CHANGES_MAX = 200
UNREADABLE = "players_unreadable", "Players"
TIMEOUT_S = 10.0
LOOK_TIMEOUT_S = 60.0
"""A look reads every user: with a million of them it takes half a minute."""

_REFUSALS = {
    Refusal.UNKNOWN_USER: (NOT_FOUND, "There is no such player."),
    Refusal.USER_EXISTS: (PLAYER_EXISTS, "There is, or was, a player with this id."),
    Refusal.SCORE_OUT_OF_RANGE: (INVALID, "The points of both are more than a score can be."),
    Refusal.KEY_REUSED: (KEY_REUSED, "This Idempotency-Key was used with another order."),
}


class PlayerView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A player as GET /admin/players lists them."""

    user_id: int
    user: str
    score: int


class PlayerChangeView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One order of the audit trail; names of removed players are not kept."""

    id: str
    action: str
    user_id: int
    into: int | None
    name_before: str | None
    name: str | None
    score_before: int | None
    score: int | None
    seq: int
    actor: str
    reason: str
    committed_at_us: int


class Managed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer to an order: the change's number, and who stands on the board after it; `user` and
    `score` are null for a player who was removed."""

    id: str
    seq: int
    user_id: int
    user: str | None
    score: int | None


def may_manage(principal: Principal) -> None:
    """Raises Problem (forbidden) unless the token carries the scope."""
    if SCOPE_PLAYERS not in principal.scopes:
        raise Problem(FORBIDDEN, "This token may not manage players.")


def parse_order(
    principal: Principal, keys: Sequence[str], content_type: str, body: bytes, new_id: bytes
) -> Order:
    """The order in a request; `keys` are the fields Idempotency-Key. Raises Problem.

    Nobody gives points to themselves.
    """
    check_media_type(content_type)
    key = contract.parse_idempotency_key(keys[0]) if len(keys) == 1 else None
    if keys and key is None:
        raise Problem(
            MALFORMED, "Idempotency-Key must be one of 1 to 128 visible ASCII characters."
        )
    try:
        value = strict_json(body)
    except (ValueError, RecursionError):
        raise Problem(MALFORMED, "The body is not valid JSON.") from None
    try:
        action = parse_action(value)
    except ValueError as error:
        raise Problem(INVALID, str(error)) from None
    if str(gains(action)) == principal.subject:
        raise Problem(FORBIDDEN, "Another operator must change this score: it is your own.")
    # Not the ids of submissions, whose names are the same subject's own.
    named = key and ids.keyed_submission_id(f"players:{principal.subject}", key)
    return Order(id=named or new_id, actor=principal.subject, action=action)


async def carry_out(client: Client, order: Order, *, task_queue: str) -> Managed:
    """Carry out an order, exactly once under its id. Raises Problem: not_found, player_exists,
    invalid, idempotency_key_reused, unavailable.

    After `unavailable` the effect is unknown; repeating the request with its key is safe.
    """
    name = ids.text(order.id)
    result = await _result(
        client,
        contract.PLAYER_WORKFLOW,
        contract.player_workflow_id(name),
        encode_order(order),
        task_queue=task_queue,
        timeout_s=TIMEOUT_S,
    )
    if result["refusal"]:
        kind, detail = _REFUSALS[Refusal(result["refusal"])]
        raise Problem(kind, detail)
    if result["digest"] != order.digest.hex():
        # The run under way belongs to another action.
        raise Problem(*_REFUSALS[Refusal.KEY_REUSED])
    log.info("player_changed", order_id=name, action=_tag(order.action), by=order.actor)
    return Managed(
        id=name,
        seq=result["seq"],
        user_id=result["user_id"],
        user=result["user"],
        score=result["score"],
    )


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at every user found in Redis: `wrong` lines, `missing` ones, and `surplus` ones
    of users who are not in MySQL. All are mended; `seq` is the board's change afterwards."""

    seq: int
    users: int
    wrong: int
    missing: int
    surplus: int


async def look(client: Client, look_id: bytes, *, task_queue: str) -> Look:
    """Compare every line of the board with MySQL, and mend it. Raises Problem (unavailable)."""
    result = await _result(
        client,
        contract.REFRESH_WORKFLOW,
        # Not a look that is under way: it may have passed what was just changed.
        f"look-{ids.text(look_id)}",
        task_queue=task_queue,
        timeout_s=LOOK_TIMEOUT_S,
    )
    return msgspec.convert(result, type=Look)


async def players(ledger: LedgerReader, after: int, limit: int) -> list[PlayerView]:
    """The next players by id. Raises Problem."""
    with readable(*UNREADABLE):
        found = await ledger.players(after, limit)
    return [PlayerView(user_id=each.user_id, user=each.name, score=each.score) for each in found]


async def changes(ledger: LedgerReader) -> list[PlayerChangeView]:
    """The latest orders, newest first. Raises Problem."""
    with readable(*UNREADABLE):
        return [_view(each) for each in await ledger.player_changes(CHANGES_MAX)]


async def _result(
    client: Client,
    workflow: str,
    workflow_id: str,
    *arguments: bytes,
    task_queue: str,
    timeout_s: float,
) -> dict[str, Any]:
    try:
        async with asyncio.timeout(timeout_s):
            result: dict[str, Any] = await client.execute_workflow(
                workflow,
                args=arguments,
                id=workflow_id,
                task_queue=task_queue,
                # MySQL knows what was done, for longer than Temporal.
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                result_type=dict,
            )
    except (WorkflowFailureError, RPCError, TimeoutError) as error:
        log.warning("player_change_failed", error=reason_of(error))
        raise Problem(UNAVAILABLE, "The order's effect is unknown.", retry_after_s=1) from None
    return result


def _tag(action: Action) -> str:
    return str(action.__struct_config__.tag)


def _view(row: PlayerChangeRow) -> PlayerChangeView:
    return PlayerChangeView(
        id=ids.text(row.id),
        action=row.action,
        user_id=row.user_id,
        into=row.into_id,
        name_before=row.name_before,
        name=row.name,
        score_before=row.score_before,
        score=row.score,
        seq=row.seq,
        actor=row.actor.decode(errors="replace"),
        reason=row.reason,
        committed_at_us=row.committed_at_us,
    )
