"""HTTP/1.1 as this server accepts it: stricter than Sanic, and a stream can leave Sanic.

Sanic 25.12 accepts malformed headers and chunked bodies that smuggle requests past
a proxy, and never times out a request that drips in. Everything here relies on
Sanic internals; `tests/integration/test_server_http.py` tests what it relies on.
"""

import asyncio
import re
from collections.abc import Iterable
from time import monotonic
from typing import Any

from sanic.exceptions import BadRequest, RequestTimeout, ServiceUnavailable
from sanic.http import Http, Stage
from sanic.request import Request
from sanic.server.protocols.http_protocol import HttpProtocol

from server.http.fast_path import FastPath

REAP_INTERVAL_S = 0.5
RESPONSE_TIMEOUT_S = 30.0
"""No handler takes this long: each has a shorter limit of its own."""

# RFC 9110, section 5.5 and 5.6.2; RFC 9112, sections 3 and 5. No line folding, no
# space before the colon, no control characters, and only ASCII in the request line.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEAD = re.compile(
    rb"%b [\x21-\x7e]+ HTTP/1\.[01](?:\r\n%b:[\t\x20-\x7e\x80-\xff]*)*" % (_TOKEN, _TOKEN)
)
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*[0-9]{1,18}[ \t]*(?:\r\n|\Z)")
_HOST = re.compile(rb"\r\nhost:[ \t]*[\x21-\x2b\x2d\x2e\x30-\x7e]*[ \t]*(?:\r\n|\Z)")


def is_valid_head(head: bytes) -> bool:
    """Whether a header block (without its last two line ends) may be processed.

    Bodies must declare their length: chunked ones are refused, since no request of
    this API needs them.
    """
    if _HEAD.fullmatch(head) is None:
        return False
    lower = head.lower()
    hosts = lower.count(b"\r\nhost:")
    lengths = lower.count(b"\r\ncontent-length:")
    return (
        b"\r\ntransfer-encoding:" not in lower
        and (hosts == 1 or (hosts == 0 and b" http/1.0" in lower.partition(b"\r\n")[0]))
        and (hosts == 0 or _HOST.search(lower) is not None)
        and (lengths == 0 or (lengths == 1 and _CONTENT_LENGTH.search(lower) is not None))
    )


class StrictHttp(Http):
    """Sanic's HTTP/1.1 with a strict check of each header block before Sanic parses it."""

    protocol: "StrictProtocol"

    async def http1_request_header(self) -> None:
        """Receive and check the header block, then let Sanic parse it."""
        self.protocol.request_since = monotonic()
        buffer = self.recv_buffer
        while (end := buffer.find(b"\r\n\r\n")) < 0 and len(buffer) < self.HEADER_MAX_SIZE:
            await self._receive_more()
        if 0 <= end < self.HEADER_MAX_SIZE and not is_valid_head(bytes(buffer[:end])):
            raise BadRequest("Bad Request")
        await super().http1_request_header()  # type: ignore[no-untyped-call]


class StrictProtocol(HttpProtocol):
    """Sanic's connection without a timer of its own: `reap` ends all overdue ones.

    It has no task before the first request on the slow path; a connection that stays on the fast
    path never needs one.
    """

    HTTP_CLASS = StrictHttp
    __slots__ = ("_fast_path", "_held", "request_since")

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.request_since = monotonic()
        self._fast_path: FastPath | None = getattr(self.app.ctx, "fast_path", None)
        # Bytes received while a request is on the fast path; None otherwise.
        self._held: bytes | None = None
        self._http: Http | None = None
        self.recv_buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As Sanic's, without the task, which costs more than everything else."""
        # SanicProtocol's own; HttpProtocol's would begin the task.
        super(HttpProtocol, self).connection_made(transport)  # type: ignore[no-untyped-call]
        self._time = monotonic()

    def data_received(self, data: bytes) -> None:
        """Answer a request on the fast path, or leave its bytes to Sanic."""
        if self._held is not None:
            # One request at a time: answers keep the order of the requests.
            self._held += data
            if self.transport is not None:
                self.transport.pause_reading()
            return
        if self._fast_path is not None and self._is_idle():
            self._held = b""
            if self._fast_path.take(data, self._answer):
                self._time = monotonic()
                return
            self._held = None
        if self._is_new():
            self._task = self.loop.create_task(
                self.connection_task()  # type: ignore[no-untyped-call]
            )
        super().data_received(data)

    def _is_new(self) -> bool:
        """Whether Sanic has not seen this connection yet. One that Sanic ended is closing."""
        transport = self.transport
        return self._task is None and transport is not None and not transport.is_closing()

    def _is_idle(self) -> bool:
        """Whether no request is in progress, and answers can be written."""
        http = self._http
        if self.recv_buffer or not self._can_write.is_set():
            return False
        if http is None:
            return self._is_new()
        return http.stage is Stage.IDLE and not http.request_body and http.keep_alive

    def _answer(self, data: bytes) -> None:
        """Write the answer of the fast path and continue with the bytes received meanwhile."""
        held, self._held = self._held, None
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if not data:
            transport.abort()
            return
        transport.write(data)
        self._time = monotonic()
        if held:
            transport.resume_reading()
            self.data_received(held)

    def close_if_idle(self) -> bool:
        """Close the connection unless a request is in progress; returns whether it was closed."""
        return self._held is None and bool(super().close_if_idle())

    def check_timeouts(self) -> None:
        """Does nothing: a timer per connection costs more than one pass over all of them."""

    def overdue(self, now: float, *, request_s: float, keep_alive_s: float) -> Exception | None:
        """The reason to end the connection, or None.

        Sanic counts from the last byte, so an occasional byte would keep a request alive
        indefinitely; here the limit counts from a request's first byte.
        """
        http = self._http
        if self._held is not None or (http is None and not self._is_new()):
            return None
        idle_s = now - self._time
        if http is None or http.stage is Stage.IDLE:
            return RequestTimeout() if idle_s > keep_alive_s else None
        arriving = http.stage is Stage.REQUEST or bool(http.request_body)
        if arriving and now - self.request_since > request_s:
            return RequestTimeout()
        return ServiceUnavailable() if idle_s > max(RESPONSE_TIMEOUT_S, request_s) else None

    def end(self, reason: Exception) -> None:
        """Answer with `reason` if an answer is due, and close."""
        if self._is_new():
            self.close()
        elif self._http is not None and self._task is not None:
            # Otherwise Sanic keeps reading the overdue body.
            self._http.request_body = None
            self._http.exception = reason
            self._task.cancel()


async def reap(
    connections: Iterable[StrictProtocol], *, request_s: float, keep_alive_s: float
) -> None:
    """End overdue connections, until cancelled."""
    while True:
        await asyncio.sleep(min(REAP_INTERVAL_S, request_s / 4))
        now = monotonic()
        for connection in list(connections):
            reason = connection.overdue(now, request_s=request_s, keep_alive_s=keep_alive_s)
            if reason is not None:
                connection.end(reason)


class Detached(asyncio.CancelledError):
    """The connection no longer belongs to Sanic; a handler raises this after `detach`.

    Sanic ends the task of a cancelled request silently when its protocol has no
    transport, which is the case after `detach`.
    """


def detach(request: Request) -> asyncio.Transport:
    """Take the connection of `request` away from Sanic; then raise Detached.

    Request, protocol and task are unusable afterwards. Bytes that the client sent
    after this request are dropped.
    """
    protocol: Any = request.transport.get_protocol()
    transport: asyncio.Transport = protocol.transport
    protocol.connections.discard(protocol)
    protocol.transport = None
    return transport
