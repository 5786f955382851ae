"""The operations of `/admin/players` in the OpenAPI document."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from scoreboard import contract, errors
from scoreboard.domain import MAX_SCORE, MAX_USER_ID
from scoreboard.players.orders import NAME_MAX_CHARS, REASON_MAX_CHARS, Action
from scoreboard.tokens import SCOPE_PLAYERS
from server.board.players import (
    PLAYERS_DEFAULT,
    PLAYERS_MAX,
    Look,
    Managed,
    PlayerChangeView,
    PlayerView,
)
from server.routes.openapi_parts import (
    IDEMPOTENCY_KEY,
    REFUSED,
    TOKEN,
    answer,
    body,
    list_of,
    number,
    problems,
    ref,
    security,
)

TYPES: Sequence[Any] = (Action, Look, Managed, PlayerView, PlayerChangeView)


_USER = {"minimum": 1, "maximum": MAX_USER_ID}
_BOUNDS = {
    "userId": _USER,
    "into": _USER,
    "score": {"minimum": 0, "maximum": MAX_SCORE},
    "name": {"minLength": 1, "maxLength": NAME_MAX_CHARS},
    "reason": {"minLength": 1, "maxLength": REASON_MAX_CHARS},
}


def bound(schemas: Mapping[str, Any]) -> None:
    """Write into the schemas of orders what their parser refuses beyond types."""
    for action in get_args(Action):
        properties = schemas[action.__name__]["properties"]
        for name in _BOUNDS.keys() & properties.keys():
            kinds = properties[name].get("anyOf", [properties[name]])
            kinds[0].update(_BOUNDS[name])


def paths() -> dict[str, Any]:
    """Their paths."""
    return {
        contract.PLAYERS_PATH: {"get": _players(), "post": _order()},
        f"{contract.PLAYERS_PATH}/changes": {"get": _changes()},
        f"{contract.PLAYERS_PATH}/look": {"post": _look()},
    }


def _players() -> dict[str, Any]:
    return {
        "operationId": "getPlayers",
        "tags": ["players"],
        "summary": "Players by id",
        "description": f"For tokens with {SCOPE_PLAYERS}.",
        "security": security(TOKEN),
        "parameters": [
            number("after", 0, 0, MAX_USER_ID, "Only players with greater ids"),
            number("limit", PLAYERS_DEFAULT, 1, PLAYERS_MAX, "Number of players"),
        ],
        "responses": {
            "200": answer("The players", list_of("PlayerView")),
            **problems(errors.MALFORMED, errors.UNAUTHORIZED, errors.FORBIDDEN),
            **problems(errors.UNAVAILABLE),
        },
    }


def _order() -> dict[str, Any]:
    actions = [ref(each.__name__) for each in get_args(Action)]
    return {
        "operationId": "postOrder",
        "tags": ["players"],
        "summary": "Add, rename, remove or merge players, or set a score",
        "description": f"For tokens with {SCOPE_PLAYERS}; nobody raises their own score. Answers"
        " when the change is stored and published. Every order has a number in the one history and"
        " an event; after a 5xx or a lost response a repeat with the same Idempotency-Key and body"
        " is safe. A removed player's event has `removed`: true.",
        "security": security(TOKEN),
        "parameters": [IDEMPOTENCY_KEY],
        "requestBody": body(
            {"oneOf": actions},
            {"action": "rename", "userId": 2, "name": "Robert", "reason": "asked by mail"},
        ),
        "responses": {
            "200": answer("Who stands on the board now", ref("Managed")),
            **problems(
                *(*REFUSED, errors.KEY_REUSED, errors.NOT_FOUND, errors.PLAYER_EXISTS),
                errors.UNAVAILABLE,
            ),
        },
    }


def _changes() -> dict[str, Any]:
    return {
        "operationId": "getPlayerChanges",
        "tags": ["players"],
        "summary": "The latest orders, newest first",
        "description": f"For tokens with {SCOPE_PLAYERS}. Names of removed players are not kept.",
        "security": security(TOKEN),
        "responses": {
            "200": answer("The orders", list_of("PlayerChangeView")),
            **problems(errors.UNAUTHORIZED, errors.FORBIDDEN, errors.UNAVAILABLE),
        },
    }


def _look() -> dict[str, Any]:
    return {
        "operationId": "postLook",
        "tags": ["players"],
        "summary": "Compare the whole board with MySQL now, after changes by hand",
        "description": f"For tokens with {SCOPE_PLAYERS}.",
        "security": security(TOKEN),
        "responses": {
            "200": answer("What was found, and mended", ref("Look")),
            **problems(errors.UNAUTHORIZED, errors.FORBIDDEN, errors.UNAVAILABLE),
        },
    }
