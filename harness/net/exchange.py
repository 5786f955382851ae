"""One request and its answer over a connection of its own, framed as the engines frame theirs."""

import socket
import time
from dataclasses import dataclass

from harness.net.http_wire import (
    BadAnswer,
    after_interim,
    answer_end,
    body_of,
    header_of,
    status_of,
    until_close,
)
from harness.targets.description import HTTP2

RECEIVE_BYTES = 65536


@dataclass(frozen=True)
class Answer:
    """One whole answer."""

    data: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return status_of(self.data)

    @property
    def body(self) -> bytes:
        """The content."""
        return body_of(self.data)

    def getheader(self, name: str, default: str = "") -> str:
        """A header's value."""
        found = header_of(self.data, name)
        return default if found is None else found


def exchange(connection: socket.socket, request: bytes, *, timeout_s: float) -> Answer:
    """Send a request and read its answer. Raises OSError, and BadAnswer for what is no HTTP."""
    end_s = time.monotonic() + timeout_s
    connection.sendall(request)
    data = b""
    while True:
        connection.settimeout(max(0.001, end_s - time.monotonic()))
        part = connection.recv(RECEIVE_BYTES)
        data = after_interim(data + part)
        if len(data) >= 5 and data[:5].upper() != b"HTTP/":
            # The first frame of a server that speaks HTTP/2 without TLS begins with zeros.
            raise BadAnswer(HTTP2 if data.startswith(b"\0\0") else f"no HTTP: {data[:40]!r}")
        if part and (end := answer_end(data)) is not None:
            return Answer(data[:end])
        if not part:
            if until_close(data):
                return Answer(data)
            raise BadAnswer("the connection was closed without a whole answer")
