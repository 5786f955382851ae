"""The supervisor's control socket: one JSON object per line in, one per line out.

Operations: status, stop, start (with `wipe`, which MySQL refuses), kill, shutdown. Only the owner
of the data folder can reach the socket. It is for tests and tools on the same machine, not for a
network.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

_LINE_BYTES_MAX = 64 * 1024
_SOCKET_PATH_BYTES_MAX = 107

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def listen(path: Path, handle: Handler) -> AsyncIterator[None]:
    """Serves requests until exit. A failing request is answered, never fatal."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError, asyncio.LimitOverrunError):
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(line, handle)).encode() + b"\n")
                await writer.drain()
        writer.close()

    path.unlink(missing_ok=True)
    with _short(path) as short:
        server = await asyncio.start_unix_server(serve, short, limit=_LINE_BYTES_MAX)
        path.chmod(0o600)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def _answer(line: bytes, handle: Handler) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except ValueError:
        return {"ok": False, "error": "each line must be one JSON object"}
    if not isinstance(request, dict):
        return {"ok": False, "error": "each line must be one JSON object"}
    try:
        return {"ok": True, **await handle(request)}
    except Exception as error:
        return {"ok": False, "error": str(error) or type(error).__name__}


def ask(path: Path, request: dict[str, Any], timeout_s: float = 60.0) -> dict[str, Any]:
    """One request from outside. Raises OSError when no supervisor listens."""
    with _short(path) as short, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout_s)
        client.connect(short)
        client.sendall(json.dumps(request).encode() + b"\n")
        with client.makefile("rb") as lines:
            answer: dict[str, Any] = json.loads(lines.readline() or b"{}")
            return answer


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name of the socket within the 107 bytes that the kernel allows."""
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
