"""Responses that more than one handler gives, and their form on the wire."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from email.utils import formatdate
from typing import Any, NamedTuple

import msgspec
from sanic.headers import format_http1_response
from sanic.response import HTTPResponse

JSON = "application/json"
NOT_STORED = {"cache-control": "no-store"}


def json_response(value: object, headers: Mapping[str, str] | None = None) -> HTTPResponse:
    """200 with a value that msgspec encodes."""
    return HTTPResponse(msgspec.json.encode(value), headers=dict(headers or {}), content_type=JSON)


_ENTITY_TAGS = re.compile(r'(?:,[ \t]*)*(?:(?:W/)?"[^"\x00-\x20\x7f]*"[ \t]*(?:(?:,[ \t]*)+|\Z))*')
_ENTITY_TAG = re.compile(r'"[^"]*"')


def is_unmodified(if_none_match: Sequence[str], etag: str | None) -> bool:
    """Whether a conditional GET gets 304 (RFC 9110, section 13.1.2), by its If-None-Match fields.

    Compared weakly. A malformed list asks nothing. `*` is met by every representation, also by one
    without an entity tag.
    """
    text = ", ".join(if_none_match).strip(" \t")
    if text == "*":
        return True
    return _ENTITY_TAGS.fullmatch(text) is not None and etag in _ENTITY_TAG.findall(text)


class _Date:
    """The Date field of this second (RFC 9110, section 5.6.7)."""

    def __init__(self) -> None:
        self._made_s = -1
        self.text = ""
        self.line = b""

    def now(self) -> "_Date":
        now_s = int(time.time())
        if now_s != self._made_s:
            self._made_s = now_s
            self.text = formatdate(now_s, usegmt=True)
            self.line = f"date: {self.text}\r\n".encode()
        return self


_date = _Date()


def http_date() -> str:
    """The value of Date."""
    return _date.now().text


def date_line() -> bytes:
    """Date as a line of a head."""
    return _date.now().line


class WireBytes(NamedTuple):
    """A whole answer as Sanic would send it, in two parts: the Date line goes between them."""

    status_line: bytes
    rest: bytes

    def dated(self) -> bytes:
        """The bytes to send now."""
        return b"%b%b%b" % (self.status_line, date_line(), self.rest)


def wire_bytes(response: HTTPResponse, fields: Iterable[tuple[str, str]] = ()) -> WireBytes:
    """An answer to send without Sanic, on a connection that stays open; `fields` are added."""
    body = response.body or b""
    for name, value in fields:
        response.headers.setdefault(name, value)
    response.headers["content-length"] = str(len(body))
    response.headers["connection"] = "keep-alive"
    head: Any = format_http1_response(response.status, response.processed_headers)
    status_line, end, rest = bytes(head).partition(b"\r\n")
    return WireBytes(status_line + end, rest + body)
