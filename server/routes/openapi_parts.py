"""Parts of which the operations in the OpenAPI document are made. Not the operations: `openapi`."""

from collections.abc import Mapping, Sequence
from typing import Any

from scoreboard import contract, errors
from scoreboard.errors import ProblemKind

PROBLEM = "application/problem+json"
JSON = "application/json"
SUBMISSION_ID = {"type": "string", "format": "uuid"}
TOKEN: Sequence[Mapping[str, Sequence[str]]] = ({"bearer": ()},)

_KEY_PATTERN = r'^("[!#-\[\]-~]{1,128}"|[!#-~]{1,128})$'
IDEMPOTENCY_KEY = {
    "name": contract.IDEMPOTENCY_HEADER,
    "in": "header",
    "required": False,
    "description": "Names the request, so that a repeat has no second effect",
    "schema": {"type": "string", "pattern": _KEY_PATTERN},
}

REFUSED = (
    *(errors.MALFORMED, errors.UNAUTHORIZED, errors.FORBIDDEN, errors.TOO_LARGE),
    *(errors.UNSUPPORTED_MEDIA_TYPE, errors.INVALID),
)
OVERLOADED = (errors.UNAVAILABLE, errors.OVERLOADED)


def problems(*kinds: ProblemKind) -> dict[str, Any]:
    """The answers of these refusals, by status."""
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    return {
        str(status): {
            "description": " ".join(f"`{kind.code}`: {kind.title}." for kind in group),
            "content": {PROBLEM: {"schema": ref("ProblemDocument")}},
        }
        for status, group in by_status.items()
    }


def answer(
    description: str, schema: Mapping[str, Any], headers: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A JSON answer."""
    return {
        "description": description,
        **({"headers": headers} if headers else {}),
        "content": {JSON: {"schema": schema}},
    }


def body(schema: Mapping[str, Any], example: object) -> dict[str, Any]:
    """A JSON body that a request must have."""
    return {"required": True, "content": {JSON: {"schema": schema, "example": example}}}


def ref(name: str) -> dict[str, Any]:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(name: str) -> dict[str, Any]:
    """A list of a schema by its name."""
    return {"type": "array", "items": ref(name)}


def seq() -> dict[str, Any]:
    """The header that says up to which change an answer is."""
    return {
        contract.SEQ_HEADER: {
            "schema": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
            "description": "Number of the last change in this response",
        }
    }


def number(name: str, default: int, least: int, most: int, about: str) -> dict[str, Any]:
    """A whole number in the query."""
    schema = {"type": "integer", "minimum": least, "maximum": most, "default": default}
    return optional(name, schema, about)


def optional(name: str, schema: Mapping[str, Any], about: str) -> dict[str, Any]:
    """Anything in the query that has no default."""
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": about,
        "schema": schema,
    }


def path(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A part of the path."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


def security(schemes: Sequence[Mapping[str, Sequence[str]]]) -> list[dict[str, list[str]]]:
    """Any one of these schemes."""
    return [{name: list(scopes) for name, scopes in each.items()} for each in schemes]
