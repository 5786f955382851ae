"""One open event stream: a transport and how far its listener is.

Not an HTTP connection any more: `server.http.detach` took it away from Sanic,
so a listener costs a socket and this object, no task.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

SEND_BUFFER_BYTES = 64 * 1024
"""In the kernel. With its default of megabytes a stalled listener goes unnoticed for minutes."""

NOT_SENT_BYTES = 16 * 1024
PEER_TIMEOUT_MS = 30_000
WRITE_BUFFER_HIGH_BYTES = 64 * 1024
WRITE_BUFFER_LOW_BYTES = 8 * 1024
MAX_RECEIVED_BYTES = 4096
"""A listener has nothing to say; one that keeps talking is disconnected."""

LAST_CHUNK = b"0\r\n\r\n"

TCP_NOTSENT_LOWAT = 25
"""From linux/tcp.h; Python's socket module has no name for it."""


class Owner(Protocol):
    """Who writes to a listener and hears from it."""

    def paused(self, listener: "Listener") -> None:
        """Its buffer is full."""

    def resumed(self, listener: "Listener") -> None:
        """Its buffer has drained."""

    def closed(self, listener: "Listener") -> None:
        """Its connection is gone."""


class Listener(asyncio.Protocol):
    """`cursor` is the last sequence number written to it; `ready`, whether it takes more now."""

    __slots__ = ("_owner", "_received", "_transport", "_write", "cursor", "on_closed", "ready")

    def __init__(self, owner: Owner, transport: asyncio.Transport, cursor: int) -> None:
        self._owner = owner
        self._transport = transport
        self._received = 0
        self.cursor = cursor
        self.ready = True
        self.on_closed: Callable[[], None] | None = None
        self._write = transport.write

    def take_over(self) -> None:
        """Become the protocol of the transport, whose buffers get small."""
        transport = self._transport
        # uvloop hands out a stand-in with the methods of a socket; it is not owned here.
        stand_in = transport.get_extra_info("socket")
        if stand_in is not None and stand_in.family != socket.AF_UNIX:
            stand_in.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            stand_in.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)
            stand_in.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_TIMEOUT_MS)
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_HIGH_BYTES, low=WRITE_BUFFER_LOW_BYTES)

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport; `ready` may be False after it."""
        try:
            self._write(data)
        except RuntimeError:
            # uvloop's answer when the peer has just gone; `connection_lost` is about to come.
            self.ready = False

    def finish(self) -> None:
        """End the stream cleanly once its buffer has drained."""
        self.ready = False
        if not self._transport.is_closing():
            self.write(LAST_CHUNK)
            self._transport.close()

    def abort(self) -> None:
        """End the connection now."""
        self.ready = False
        self._transport.abort()

    def pause_writing(self) -> None:
        """Called by the transport, from inside `write`."""
        self.ready = False
        self._owner.paused(self)

    def resume_writing(self) -> None:
        """Called by the transport."""
        if not self._transport.is_closing():
            self.ready = True
            self._owner.resumed(self)

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        self._received += len(data)
        if self._received > MAX_RECEIVED_BYTES:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport, once."""
        del exc
        self.ready = False
        self._owner.closed(self)
        if self.on_closed is not None:
            self.on_closed()
