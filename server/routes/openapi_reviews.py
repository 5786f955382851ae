"""The operations of `/admin/reviews` in the OpenAPI document."""

from collections.abc import Sequence
from typing import Any

from scoreboard import contract, errors
from scoreboard.domain import MAX_USER_ID
from scoreboard.tokens import SCOPE_REVIEW
from server.board.board import OFFSET_MAX
from server.review.cases import CASES_MAX, RULES, TIME_MAX_US, CaseView, HolderView
from server.review.decisions import (
    MANY_MAX,
    CaseDecision,
    Decided,
    DecisionRequest,
    DecisionResult,
    DecisionsRequest,
)
from server.routes.openapi_parts import (
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
)

TYPES: Sequence[Any] = (
    *(CaseView, HolderView, DecisionRequest, Decided),
    *(CaseDecision, DecisionsRequest, DecisionResult),
)


def paths() -> dict[str, Any]:
    """Their paths."""
    return {
        contract.REVIEWS_PATH: {"get": _cases()},
        f"{contract.REVIEWS_PATH}/decisions": {"post": _decisions()},
        f"{contract.REVIEWS_PATH}/users": {"get": _holders()},
        f"{contract.REVIEWS_PATH}/{{submissionId}}": {"post": _decision()},
    }


def _cases() -> dict[str, Any]:
    return {
        "operationId": "getCases",
        "tags": ["review"],
        "summary": "Held submissions",
        "description": f"For tokens with {SCOPE_REVIEW}. Open cases, oldest first.",
        "security": security(TOKEN),
        "parameters": [
            number("all", 0, 0, 1, "1: also those that are decided, latest decision first"),
            number("limit", CASES_MAX, 1, CASES_MAX, "Number of cases"),
            optional("after", SUBMISSION_ID, "The last case of the page before"),
            optional("user", _whole(MAX_USER_ID), "Only cases of this user"),
            optional("rule", {"type": "string", "enum": [*RULES]}, "Only cases that it held"),
            optional("openedBeforeUs", _whole(TIME_MAX_US), "Only older cases"),
        ],
        "responses": {
            "200": answer("The cases", list_of("CaseView")),
            **problems(errors.MALFORMED, errors.UNAUTHORIZED, errors.FORBIDDEN),
            **problems(errors.NOT_FOUND, errors.UNAVAILABLE),
        },
    }


def _holders() -> dict[str, Any]:
    return {
        "operationId": "getCasesByUser",
        "tags": ["review"],
        "summary": "Users with open cases, most first",
        "description": f"For tokens with {SCOPE_REVIEW}.",
        "security": security(TOKEN),
        "parameters": [
            number("limit", CASES_MAX, 1, CASES_MAX, "Number of users"),
            number("offset", 0, 0, OFFSET_MAX, "Users to skip"),
        ],
        "responses": {
            "200": answer("The users", list_of("HolderView")),
            **problems(errors.MALFORMED, errors.UNAUTHORIZED, errors.FORBIDDEN),
            **problems(errors.UNAVAILABLE),
        },
    }


def _decisions() -> dict[str, Any]:
    case = "01890a5d-ac96-774b-bcce-b302099a8057"
    example = {"decisions": [{"submissionId": case, "decision": "reject"}]}
    return {
        "operationId": "postDecisions",
        "tags": ["review"],
        "summary": "Approve or reject many held submissions",
        "description": f"For tokens with {SCOPE_REVIEW}. 1 to {MANY_MAX} cases, each once; each"
        " has a result of its own, as if it had been decided alone, and refusing one does not"
        " affect the others. Repeating the request is safe.",
        "security": security(TOKEN),
        "requestBody": body(ref("DecisionsRequest"), example),
        "responses": {
            "200": answer("A result for each case, in order", list_of("DecisionResult")),
            **problems(*REFUSED, errors.UNAVAILABLE),
        },
    }


def _decision() -> dict[str, Any]:
    return {
        "operationId": "postDecision",
        "tags": ["review"],
        "summary": "Approve or reject a held submission",
        "description": f"For tokens with {SCOPE_REVIEW}; nobody approves a gain of their own."
        " Repeating one's own decision gets the same answer; another decision is refused.",
        "security": security(TOKEN),
        "parameters": [path("submissionId", SUBMISSION_ID)],
        "requestBody": body(ref("DecisionRequest"), {"decision": "approve"}),
        "responses": {
            "200": answer("The decided case", ref("Decided")),
            **problems(*REFUSED, errors.NOT_FOUND, errors.ALREADY_DECIDED, errors.UNAVAILABLE),
        },
    }


def _whole(most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": most}
