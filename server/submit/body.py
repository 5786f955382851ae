"""Parses the body of a submission strictly. Whether its user exists is decided later."""

import json
from typing import Annotated

import msgspec

from scoreboard.domain import MAX_INCREMENT, MAX_USER_ID
from scoreboard.errors import INVALID, MALFORMED, UNSUPPORTED_MEDIA_TYPE, Problem

MAX_BODY_BYTES = 16 * 1024

_DETAIL = (
    'The body must be {"userId": <integer above 0>, "increment": <integer, not 0,'
    f" at most {MAX_INCREMENT} either way>}} and nothing else."
)


class Update(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A client's request: whose score, and by how much."""

    user_id: Annotated[int, msgspec.Meta(ge=1, le=MAX_USER_ID)] = msgspec.field(name="userId")
    increment: Annotated[int, msgspec.Meta(ge=-MAX_INCREMENT, le=MAX_INCREMENT)]


_decoder = msgspec.json.Decoder(Update)


def parse_update(content_type: str, body: bytes) -> Update:
    """The update in a request's body.

    Raises Problem: unsupported_media_type, malformed for anything but JSON, invalid
    for JSON of another shape (including NaN, 1.0, "1", repeated names).
    """
    if content_type != "application/json":
        check_media_type(content_type)
    try:
        update = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _refusal(body) from None
    # Two members have two colons. A third one means a repeated name, which the
    # decoder accepts; it refuses every other name or value with a colon.
    if update.increment == 0 or body.count(b":") != 2:
        raise Problem(INVALID, _DETAIL)
    return update


def check_media_type(content_type: str) -> None:
    """Raises Problem (unsupported_media_type) unless it is JSON in UTF-8."""
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip(" \t").lower() != "application/json":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "Send application/json.")
    if parameters.strip(" \t").lower() not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "Send application/json in UTF-8.")


def _refusal(body: bytes) -> Problem:
    try:
        json.loads(body.decode())
    except (json.JSONDecodeError, UnicodeDecodeError):
        return Problem(MALFORMED, "The body is not valid JSON.")
    except (ValueError, RecursionError):
        # Integers of thousands of digits or arrays thousands deep: JSON, but invalid here.
        pass
    return Problem(INVALID, _DETAIL)
