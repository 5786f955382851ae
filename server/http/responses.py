"""Responses that more than one handler gives, and their form on the wire."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sanic.headers import format_http1_response
from sanic.response import HTTPResponse

JSON = "application/json"
NOT_STORED = {"cache-control": "no-store"}


def json_response(value: object, headers: Mapping[str, str] | None = None) -> HTTPResponse:
    """200 with a value that msgspec encodes."""
    return HTTPResponse(msgspec.json.encode(value), headers=dict(headers or {}), content_type=JSON)


def is_unmodified(if_none_match: str | None, etag: str) -> bool:
    """Whether a conditional GET gets 304 (RFC 9110, section 13.1.2). Our etags have no comma."""
    if if_none_match is None:
        return False
    candidates = (part.strip(" \t") for part in if_none_match.split(","))
    return any(part == "*" or part.removeprefix("W/") == etag for part in candidates)


def wire_bytes(response: HTTPResponse) -> bytes:
    """A whole response as Sanic would send it on a connection that stays open."""
    body = response.body or b""
    response.headers["content-length"] = str(len(body))
    response.headers["connection"] = "keep-alive"
    head: Any = format_http1_response(response.status, response.processed_headers)
    return bytes(head) + body
