"""One kept-alive connection to the server in asyncio. How bytes are framed is `net.http_wire`'s.

Every way an exchange can break surfaces as an exception; what it proves is
``harness.evidence.history.outcome_of_error``'s to say.
"""

import asyncio
import contextlib
from dataclasses import dataclass

from harness.net.http_wire import answer_end, body_of, header_of, status_of

READ_BYTES = 64 * 1024
CONNECT_TIMEOUT_S = 3.0
REPLY_TIMEOUT_S = 6.0


class BrokenReply(Exception):
    """The connection ended in mid reply, or the bytes are no HTTP."""


class NothingSent(Exception):
    """There was no connection; the message names the cause."""


BROKEN = (OSError, TimeoutError, BrokenReply, NothingSent)
"""Every way an exchange can end without a reply."""


@dataclass(frozen=True)
class Reply:
    """A whole reply."""

    status: int
    data: bytes

    @property
    def body(self) -> bytes:
        """The content, without its chunks."""
        return body_of(self.data)

    def header(self, name: str) -> str | None:
        """A field's value, None when it is not there."""
        return header_of(self.data, name)


class Line:
    """A connection to a port of 127.0.0.1, opened when needed and replaced after it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes, *, timeout_s: float = REPLY_TIMEOUT_S) -> Reply:
        """Send a request and wait for its reply. Raises one of BROKEN."""
        try:
            reader, writer = await self._opened()
            try:
                writer.write(request)
            except RuntimeError as error:
                # uvloop's answer when the connection was reset while it lay idle.
                raise ConnectionResetError(str(error)) from error
            async with asyncio.timeout(timeout_s):
                reply = await _reply(reader)
        except BaseException:
            self.close()
            raise
        if (reply.header("connection") or "").lower() == "close":
            self.close()
        return reply

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    opened = await asyncio.open_connection("127.0.0.1", self._port)
            except (OSError, TimeoutError) as error:
                raise NothingSent(type(error).__name__) from error
            self._reader, self._writer = opened
        return self._reader, self._writer

    def close(self) -> None:
        """Drop the connection at once."""
        if self._writer is not None:
            with contextlib.suppress(RuntimeError):
                self._writer.transport.abort()
        self._reader = self._writer = None


async def _reply(reader: asyncio.StreamReader) -> Reply:
    data = b""
    while True:
        piece = await reader.read(READ_BYTES)
        if not piece:
            raise BrokenReply(f"the connection ended after {len(data)} bytes")
        data += piece
        try:
            end = answer_end(data)
            if end is not None:
                break
        except ValueError as error:
            raise BrokenReply(str(error)) from error
    if end < len(data):
        raise BrokenReply(f"{len(data) - end} bytes more than the reply")
    return Reply(status_of(data), data)


def get(path: str) -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
