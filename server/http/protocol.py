"""HTTP/1.1 as this server accepts it: stricter than Sanic, and a stream can leave Sanic.

Sanic 25.12 accepts malformed headers and chunked bodies that smuggle requests past
a proxy, and never times out a request that drips in. So heads and chunked bodies are parsed by
`head` and `chunked`; Sanic routes requests and sends answers. Everything here relies on Sanic
internals; `tests/integration/test_server_http.py` tests what it relies on.
"""

import asyncio
import re
from collections.abc import Iterable
from time import monotonic
from typing import Any

from sanic.compat import Header
from sanic.exceptions import (
    BadRequest,
    PayloadTooLarge,
    RequestTimeout,
    SanicException,
    ServiceUnavailable,
)
from sanic.http import Http, Stage
from sanic.http.http1 import HTTP_CONTINUE
from sanic.request import Request
from sanic.server.protocols.http_protocol import HttpProtocol

from server.http.chunked import BadChunk, BodyTooLarge, ChunkedBody
from server.http.fast_path import FastPath
from server.http.head import CHUNKED, BadHead, Head, parse_head
from server.http.responses import http_date

HEAD_MAX_BYTES = 8192
REAP_INTERVAL_S = 0.5
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([!-~]+)[ \t]*\r\n", re.IGNORECASE)
RESPONSE_TIMEOUT_S = 30.0
"""No handler takes this long: each has a shorter limit of its own."""


class RefusedHead(SanicException):
    """A request that is refused before it has a route; `reason` is one of ours, for the log."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason, status_code=status)
        self.reason = reason


class StrictHttp(Http):
    """Sanic's HTTP/1.1 with this project's parser for heads and for chunked bodies."""

    protocol: "StrictProtocol"
    __slots__ = ("_chunked",)

    async def http1_request_header(self) -> None:
        """Receive the header block and make the request from it."""
        self.protocol.request_since = monotonic()
        self._chunked: ChunkedBody | None = None
        buffer = self.recv_buffer
        while (end := buffer.find(b"\r\n\r\n")) < 0 and len(buffer) < HEAD_MAX_BYTES:
            await self._receive_more()
        self.head_only = buffer.startswith(b"HEAD ")
        if not 0 <= end < HEAD_MAX_BYTES:
            is_line = buffer.find(b"\r\n", 0, HEAD_MAX_BYTES) < 0
            raise RefusedHead(414, "target") if is_line else RefusedHead(431, "size")
        raw = bytes(buffer[:end])
        try:
            head = parse_head(raw)
        except BadHead as error:
            raise RefusedHead(error.status, error.reason) from None
        request = self._request(raw, head)
        del buffer[: end + 4]
        self.keep_alive = head.keep_alive
        self.url = head.target
        self.head_only = head.method == "HEAD"
        self.request, request.stream = request, self
        self._expect_body(head, request)
        self.protocol.state["requests_count"] += 1

    def _request(self, raw: bytes, head: Head) -> Request:
        try:
            return self.protocol.request_class(
                url_bytes=head.target.encode("ascii"),
                headers=Header(head.fields),
                head=raw,
                version=head.version,
                method=head.method,
                transport=self.protocol.transport,  # type: ignore[arg-type]
                app=self.protocol.app,
            )
        except Exception as error:
            # Whatever the framework objects to, its answer to that would end without one.
            raise RefusedHead(400, "framework") from error

    def _expect_body(self, head: Head, request: Request) -> None:
        self.request_bytes_left = self.request_bytes = 0
        if head.length is None:
            return
        self.request_body = True  # type: ignore[assignment]
        if head.length == CHUNKED:
            self._chunked = ChunkedBody(int(self.request_max_size))
        else:
            self.request_bytes_left = self.request_bytes = head.length
        expected = request.headers.getall("expect", ())
        if expected:
            self.expecting_continue = [value.lower() for value in expected] == ["100-continue"]
            if not self.expecting_continue:
                raise RefusedHead(417, "expect")
        coding = ",".join(request.headers.getall("content-encoding", ("identity",)))
        if coding.lower() != "identity":
            raise RefusedHead(415, "content-encoding")

    async def read(self) -> bytes | None:
        """The next bytes of the request's body; None at its end."""
        body = self._chunked
        if body is None:
            found: bytes | None = await super().read()
            return found
        if self.expecting_continue:
            self.expecting_continue = False
            await self._send(HTTP_CONTINUE)
        while True:
            try:
                data = body.take(self.recv_buffer)
            except BadChunk as error:
                self.keep_alive = False
                raise BadRequest(str(error)) from None
            except BodyTooLarge:
                self.keep_alive = False
                raise PayloadTooLarge("body") from None
            if body.done:
                self.request_body = None
            if data or body.done:
                return data or None
            await self._receive_more()

    def create_empty_request(self) -> None:
        """Sanic's stand-in for a request that was refused before it had one, with its origin.

        A page of an allowed origin may read this answer, too.
        """
        super().create_empty_request()
        found = _ORIGIN.findall(self.recv_buffer[: 2 * HEAD_MAX_BYTES])
        if len(found) == 1:
            self.request.headers["origin"] = found[0].decode("ascii")

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:
        """Sanic's, with the fields that every answer has; later, for a client refused too often."""
        if 400 <= self.response.status < 500:
            delay_s = self.protocol.app.ctx.refusal_delay_s(self.request)
            if delay_s > 0:
                await asyncio.sleep(delay_s)
        headers = self.response.headers
        headers["date"] = http_date()
        for name, value in self.protocol.app.ctx.fields(self.request):
            headers.setdefault(name, value)
        await super().http1_response_header(data, end_stream)


class StrictProtocol(HttpProtocol):
    """Sanic's connection without a timer of its own: `reap` ends all overdue ones.

    It has no task before the first request on the slow path; a connection that stays on the fast
    path never needs one.
    """

    HTTP_CLASS = StrictHttp
    __slots__ = ("_ended", "_fast_path", "_held", "_waiting", "request_since")

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.request_since = monotonic()
        self._fast_path: FastPath | None = getattr(self.app.ctx, "fast_path", None)
        # Bytes received while a request is on the fast path; None otherwise.
        self._held: bytes | None = None
        # The client sends nothing more, but may wait for answers.
        self._ended = False
        # Sanic waits for bytes: of the next request, or of one that is not whole.
        self._waiting = False
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

    def eof_received(self) -> bool:
        """Stay open for what is due to a client that has sent its last request."""
        self._ended = True
        if self._held is not None:
            return True
        return self._task is not None and not (self._waiting and not self._data_received.is_set())

    async def receive_more(self) -> None:
        """As Sanic's; ends a connection that sends nothing more."""
        if self._ended and self.transport is not None:
            self.transport.close()
            self._data_received.clear()
            # Closing cancels this task.
            await self._data_received.wait()
        self._waiting = True
        try:
            await super().receive_more()  # type: ignore[no-untyped-call]
        finally:
            self._waiting = False

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
        elif self._ended:
            transport.close()

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
