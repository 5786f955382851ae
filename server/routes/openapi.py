"""The OpenAPI 3.1 document of this API, built from the very types that requests are parsed with.

Pure. What a handler does is in the handler; here is what it promises. Each
operation names its answers, and every refusal is one shape (RFC 9457).
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from scoreboard import __version__, contract, errors
from scoreboard.domain import MAX_USER_ID, Standing
from scoreboard.tokens import SCOPE_ANY_USER, SCOPE_OPERATE
from server.board.board import OFFSET_MAX
from server.board.outcomes import Status
from server.board.ranks import NEIGHBOURS_DEFAULT, NEIGHBOURS_MAX, Surroundings
from server.review.decisions import DECISIONS
from server.routes import openapi_players, openapi_reviews
from server.routes.openapi_parts import (
    IDEMPOTENCY_KEY,
    JSON,
    OVERLOADED,
    REFUSED,
    SUBMISSION_ID,
    TOKEN,
    answer,
    body,
    list_of,
    number,
    optional,
    path,
    problems,
    ref,
    security,
    seq,
)
from server.stream.stream_gate import COOKIE, Ticket
from server.submit.batches import ItemResult
from server.submit.body import Update
from server.submit.submission_parser import MAX_ITEMS, BatchItem

_TOKEN_IF_TOLD = ({}, *TOKEN)
_STREAM_TOKEN = ({}, *TOKEN, {"cookie": ()}, {"ticket": ()})


class Accepted(msgspec.Struct, rename="camel"):
    """Answer of POST /scores/update, once the submission is durable."""

    message: str
    submission_id: str


class ProblemDocument(msgspec.Struct):
    """A refusal (RFC 9457). `code` is stable; nothing of the request is repeated."""

    type: str
    title: str
    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    code: str
    detail: str


class State(msgspec.Struct):
    """Liveness or readiness of the process."""

    status: str


_TYPES: Sequence[Any] = (
    *(Accepted, ProblemDocument, State, Standing, Update, BatchItem, ItemResult, Status),
    *(Surroundings, Ticket),
    *openapi_reviews.TYPES,
    *openapi_players.TYPES,
)


def document(base: str = "") -> dict[str, Any]:
    """The whole document, ready to be encoded as JSON; `base` is where the API is mounted."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Scoreboard",
            "version": __version__,
            "description": "A real-time scoreboard. Points are submitted over HTTP and applied"
            " exactly once; every listener receives every change, in order and without gaps.",
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base or "/"}],
        "tags": [
            {"name": "scores", "description": "The board, submissions and their outcomes"},
            {"name": "stream", "description": "Changes as they happen"},
            {"name": "review", "description": "Submissions that were held"},
            {"name": "players", "description": "Who plays, for operators"},
            {"name": "operation", "description": "Health, metrics and statistics for operators"},
        ],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
                "ticket": {"type": "apiKey", "in": "query", "name": "ticket"},
            },
        },
    }


def _schemas() -> dict[str, Any]:
    _, found = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    # What the parser refuses beyond its types; items of a batch are answered one by one.
    found["Update"]["properties"]["increment"]["not"] = {"const": 0}
    for name in ("DecisionRequest", "CaseDecision"):
        found[name]["properties"]["decision"]["enum"] = sorted(DECISIONS)
    found["CaseDecision"]["properties"]["submissionId"] |= SUBMISSION_ID
    openapi_players.bound(found)
    return dict(found)


def _paths() -> dict[str, Any]:
    return {
        contract.SCORES_PATH: {"get": _scores()},
        contract.UPDATE_PATH: {"post": _update()},
        contract.OUTCOMES_PATH: {"post": _updates()},
        f"{contract.OUTCOMES_PATH}/{{submissionId}}": {"get": _outcome()},
        f"{contract.USERS_PATH}/{{userId}}": {"get": _user()},
        contract.STREAM_PATH: {"get": _stream()},
        contract.TICKET_PATH: {"post": _ticket()},
        **openapi_reviews.paths(),
        **openapi_players.paths(),
        "/healthz": {"get": _state("alive", "Whether the process is alive")},
        "/readyz": {"get": _state("ready", "Whether the process accepts work", 503)},
        "/metrics": {"get": _figures("metrics", "Metrics for Prometheus", "text/plain")},
        "/admin/stats": {"get": _figures("stats", "The same metrics as JSON", JSON)},
        "/openapi.json": {"get": _this()},
    }


def _floor() -> dict[str, Any]:
    return {
        "name": contract.SEQ_HEADER,
        "in": "header",
        "description": "A number that an answer or an event had: no older board is wanted",
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
    }


def _scores() -> dict[str, Any]:
    etag = {"etag": {"schema": {"type": "string"}, "description": "Differs when the body does"}}
    return {
        "operationId": "getScores",
        "tags": ["scores"],
        "summary": "The board, best first",
        "parameters": [
            number("limit", contract.TOP_DEFAULT, 1, contract.TOP_MAX, "Number of places"),
            number("offset", 0, 0, OFFSET_MAX, "Places to skip"),
            _floor(),
        ],
        "responses": {
            "200": answer("One page of the board", list_of("Standing"), {**seq(), **etag}),
            "304": {"description": "Unchanged since the ETag in If-None-Match"},
            **problems(errors.MALFORMED, errors.UNAVAILABLE),
        },
    }


def _update() -> dict[str, Any]:
    outcome = {"operationId": "getOutcome"}
    found = {"submissionId": "$response.body#/submissionId"}
    location = {
        "location": {
            "schema": {"type": "string", "format": "uri-reference"},
            "description": "Address of the submission's outcome",
        }
    }
    accepted = answer("Stored in a started workflow", ref("Accepted"), location)
    return {
        "operationId": "postUpdate",
        "tags": ["scores"],
        "summary": "Submit points for a user",
        "description": "After a 5xx or a lost response the effect is unknown; a repeat with the"
        " same Idempotency-Key and body is always safe and returns the same submissionId."
        f" A token may update its own user, or with {SCOPE_ANY_USER} any user. Requests may be"
        " signed (RFC 9421).",
        "security": security(TOKEN),
        "parameters": [IDEMPOTENCY_KEY],
        "requestBody": body(ref("Update"), {"userId": 1, "increment": 10}),
        "responses": {
            "202": {**accepted, "links": {"outcome": {**outcome, "parameters": found}}},
            **problems(
                *REFUSED, errors.KEY_REUSED, errors.UNKNOWN_USER, errors.RATE_LIMITED, *OVERLOADED
            ),
        },
    }


def _updates() -> dict[str, Any]:
    items = {**list_of("BatchItem"), "minItems": 1, "maxItems": MAX_ITEMS}
    return {
        "operationId": "postUpdates",
        "tags": ["scores"],
        "summary": "Submit points for many users",
        "description": "Each item gets the result that a request of its own would get; `key` is its"
        " Idempotency-Key. A user who goes on after hundreds of refused items gets 429 for the"
        " whole request.",
        "security": security(TOKEN),
        "requestBody": body(items, [{"userId": 1, "increment": 10, "key": "match-7"}]),
        "responses": {
            "200": answer("Result of each item, in order", list_of("ItemResult")),
            **problems(*REFUSED, errors.RATE_LIMITED, *OVERLOADED),
        },
    }


def _outcome() -> dict[str, Any]:
    waits = {
        "retry-after": {
            "schema": {"type": "integer"},
            "description": "Seconds to wait while pending",
        }
    }
    return {
        "operationId": "getOutcome",
        "tags": ["scores"],
        "summary": "Outcome of a submission",
        "security": security(TOKEN),
        "parameters": [path("submissionId", SUBMISSION_ID)],
        "responses": {
            "200": answer("Pending, applied, rejected or held", ref("Status"), waits),
            **problems(errors.MALFORMED, errors.UNAUTHORIZED),
            **problems(errors.NOT_FOUND, errors.UNAVAILABLE),
        },
    }


def _user() -> dict[str, Any]:
    user = {"type": "integer", "minimum": 1, "maximum": MAX_USER_ID}
    return {
        "operationId": "getUser",
        "tags": ["scores"],
        "summary": "A user's rank, score and neighbours",
        "description": "Equal scores share a rank; the first to reach the score is listed first.",
        "parameters": [
            path("userId", user),
            number("neighbours", NEIGHBOURS_DEFAULT, 0, NEIGHBOURS_MAX, "Places before and after"),
            _floor(),
        ],
        "responses": {
            "200": answer("The user's place", ref("Surroundings"), seq()),
            **problems(errors.MALFORMED, errors.NOT_FOUND, errors.UNAVAILABLE),
        },
    }


def _stream() -> dict[str, Any]:
    event_id = {"type": "string"}
    return {
        "operationId": "getStream",
        "tags": ["stream"],
        "summary": "Every change as it happens (Server-Sent Events)",
        "description": "`event: update` with `id` the change's seq, contiguous for each listener;"
        " `event: reset` with a snapshot when the missed changes are no longer kept, or the id is"
        " not of this stream. Comments keep the connection alive. A stream opened with a token"
        " ends when the token expires."
        " Compressed for clients that accept gzip.",
        "security": security(_STREAM_TOKEN),
        "parameters": [
            {
                "name": contract.LAST_EVENT_ID_HEADER,
                "in": "header",
                "required": False,
                "description": "Continue after this change",
                "schema": event_id,
            },
            optional("lastEventId", event_id, "Last-Event-ID for clients that cannot send headers"),
            number("snapshot", 0, 0, 1, "1: begin with the top of the board"),
        ],
        "responses": {
            "200": {
                "description": "The stream",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **problems(errors.MALFORMED, errors.UNAUTHORIZED, errors.FORBIDDEN),
            **problems(errors.TOO_MANY_STREAMS, errors.UNAVAILABLE),
        },
    }


def _ticket() -> dict[str, Any]:
    return {
        "operationId": "postTicket",
        "tags": ["stream"],
        "summary": "A single-use ticket for the stream",
        "description": "EventSource cannot send headers. A ticket opens one stream before it"
        " expires: `GET /scores/stream?ticket=…`.",
        "security": security(TOKEN),
        "responses": {
            "200": answer("The ticket", ref("Ticket")),
            **problems(errors.UNAUTHORIZED, errors.FORBIDDEN),
            **problems(errors.RATE_LIMITED, errors.UNAVAILABLE),
        },
    }


def _state(word: str, summary: str, *failures: int) -> dict[str, Any]:
    return {
        "operationId": word,
        "tags": ["operation"],
        "summary": summary,
        "responses": {
            "200": answer("The check passed", ref("State")),
            **(problems(errors.UNAVAILABLE) if failures else {}),
        },
    }


def _figures(name: str, summary: str, content_type: str) -> dict[str, Any]:
    kind = "string" if content_type.startswith("text/") else "object"
    return {
        "operationId": name,
        "tags": ["operation"],
        "summary": summary,
        "description": f"Public, or restricted to tokens with {SCOPE_OPERATE}.",
        "security": security(_TOKEN_IF_TOLD),
        "responses": {
            "200": {
                "description": "The metrics",
                "content": {content_type: {"schema": {"type": kind}}},
            },
            **problems(errors.UNAUTHORIZED, errors.FORBIDDEN),
        },
    }


def _this() -> dict[str, Any]:
    return {
        "operationId": "openapi",
        "tags": ["operation"],
        "summary": "This document",
        "responses": {"200": answer("OpenAPI 3.1", {"type": "object"})},
    }
