"""A small HTTP/1.1 client for one connection: enough for correct accounting, no more.

Every way an exchange can break surfaces as an exception; what it proves is
``harness.evidence.history.outcome_of_error``'s to say.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Self


class BrokenReply(Exception):
    """The connection ended in mid reply, or what came is no HTTP."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A whole reply. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One kept-alive connection; after any exception it must be closed, not reused."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, *, timeout_s: float = 3.0) -> Self:
        """Connect to 127.0.0.1. Raises OSError (ConnectionRefusedError proves no effect)."""
        async with asyncio.timeout(timeout_s):
            return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, request: bytes) -> None:
        """Hand over the whole request. Raises ConnectionResetError when the peer is gone."""
        try:
            self._writer.write(request)
        except RuntimeError as error:
            # uvloop's answer when the connection was reset while it lay idle.
            raise ConnectionResetError(str(error)) from error

    async def reply(self, *, timeout_s: float) -> Reply:
        """The next reply. Raises BrokenReply, OSError or TimeoutError."""
        async with asyncio.timeout(timeout_s):
            try:
                status, headers = await self.head()
                if "content-length" in headers:
                    body = await self.reader.readexactly(int(headers["content-length"]))
                elif headers.get("transfer-encoding") == "chunked":
                    body = await self._chunks()
                else:
                    body = b""
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
                raise BrokenReply(str(error)) from error
        return Reply(status=status, headers=headers, body=body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers. Raises asyncio.IncompleteReadError and ValueError."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.split("\r\n")
        if not first.startswith("HTTP/1.1 "):
            raise ValueError("not HTTP/1.1")
        pairs = (line.partition(":") for line in lines if line)
        return int(first[9:12]), {name.lower(): value.strip() for name, _, value in pairs}

    async def _chunks(self) -> bytes:
        parts = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return b"".join(parts)

    def close(self) -> None:
        """Drop the connection at once."""
        with contextlib.suppress(RuntimeError):
            self._writer.transport.abort()


def get(path: str, **headers: str) -> bytes:
    """The bytes of a GET."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode()


def post(path: str, body: bytes, **headers: str) -> bytes:
    """The bytes of a POST of JSON."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{lines}\r\n"
    )
    return head.encode() + body
