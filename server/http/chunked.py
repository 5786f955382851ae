"""Decodes chunked request bodies (RFC 9112, section 7.1) within bounds. Pure.

Strict, since a body that two readers cut differently smuggles requests: line ends are CRLF, sizes
have up to eight hexadecimal digits, extensions have the form of the standard, and trailer fields
that would change the meaning of the request are refused. Extensions and other trailer fields are
ignored, as the standard asks.
"""

import re
from collections.abc import Callable
from typing import Final

OVERHEAD_MAX: Final = 4096
"""Bytes of chunk extensions and trailer fields in one body, and so of one line."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*"'
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,8})((?:[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?)*)"
    % (_TOKEN, _TOKEN, _QUOTED)
)
_TRAILER = re.compile(rb"(%b):[\t\x20-\x7e\x80-\xff]*" % _TOKEN)
_NOT_IN_TRAILERS: Final = frozenset(
    (
        *(b"authorization", b"connection", b"content-encoding", b"content-length"),
        *(b"content-range", b"content-type", b"cookie", b"expect", b"host", b"idempotency-key"),
        *(b"keep-alive", b"origin", b"proxy-authorization", b"signature", b"signature-input"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade", b"forwarded", b"x-forwarded-for"),
    )
)


class BadChunk(ValueError):
    """The body is not chunked as the standard asks, or has too many bytes besides its content."""


class BodyTooLarge(ValueError):
    """The body is larger than allowed."""


class ChunkedBody:
    """Decodes one body as its bytes arrive; `done` after its last byte."""

    __slots__ = ("_left", "_limit", "_overhead", "_size", "_stage", "done")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._overhead = 0
        self._left = 0
        self._stage: Callable[[bytearray, bytearray], bool] = self._take_size
        self.done = False

    def take(self, buffer: bytearray) -> bytes:
        """Remove what belongs to the body from `buffer`; returns the content decoded by that.

        Raises BadChunk or BodyTooLarge; nothing more can be taken then.
        """
        content = bytearray()
        while not self.done and self._stage(buffer, content):
            pass
        return bytes(content)

    def _line(self, buffer: bytearray) -> bytes | None:
        """The next line, removed from `buffer`; None until it is complete."""
        end = buffer.find(b"\r\n")
        if end < 0:
            # The CR may have come without its LF.
            if len(buffer) > OVERHEAD_MAX:
                raise BadChunk("line")
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        return line

    def _spend(self, count: int) -> None:
        self._overhead += count
        if self._overhead > OVERHEAD_MAX:
            raise BadChunk("overhead")

    def _take_size(self, buffer: bytearray, _content: bytearray) -> bool:
        line = self._line(buffer)
        if line is None:
            return False
        found = _SIZE.fullmatch(line)
        if found is None:
            raise BadChunk("size")
        self._spend(len(found[2]))
        self._left = int(found[1], 16)
        self._size += self._left
        if self._size > self._limit:
            raise BodyTooLarge
        self._stage = self._take_content if self._left else self._take_trailer
        return True

    def _take_content(self, buffer: bytearray, content: bytearray) -> bool:
        taken = buffer[: self._left]
        content += taken
        self._left -= len(taken)
        del buffer[: len(taken)]
        if self._left or len(buffer) < 2:
            return False
        if buffer[:2] != b"\r\n":
            raise BadChunk("content")
        del buffer[:2]
        self._stage = self._take_size
        return True

    def _take_trailer(self, buffer: bytearray, _content: bytearray) -> bool:
        line = self._line(buffer)
        if line is None:
            return False
        if not line:
            self.done = True
            return False
        found = _TRAILER.fullmatch(line)
        if found is None or found[1].lower() in _NOT_IN_TRAILERS:
            raise BadChunk("trailer")
        self._spend(len(line))
        return True


def whole_body(data: bytes, limit: int) -> bytes | None:
    """The content of a chunked body that `data` holds exactly; None for anything else."""
    buffer = bytearray(data)
    body = ChunkedBody(limit)
    try:
        content = body.take(buffer)
    except (BadChunk, BodyTooLarge):
        return None
    return content if body.done and not buffer else None
