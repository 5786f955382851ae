"""One open event stream: its transport, its cursor, and how bytes are written to it.

No longer an HTTP connection: `server.http.protocol.detach` took it away from Sanic, so a
listener costs a socket and this object, but no task.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from scoreboard.gzipped import HEAD, packed, stored
from scoreboard.sse import LAST_CHUNK, chunk
from server.stream.gzip_trailer import Check, Ending

SEND_BUFFER_BYTES = 64 * 1024
"""In the kernel. With the default of megabytes a stalled listener goes unnoticed for minutes."""

NOT_SENT_BYTES = 16 * 1024
PEER_TIMEOUT_MS = 30_000
WRITE_BUFFER_HIGH_BYTES = 64 * 1024
WRITE_BUFFER_LOW_BYTES = 8 * 1024
MAX_RECEIVED_BYTES = 4096
"""A listener has nothing to send; one that keeps sending is disconnected."""

TCP_NOTSENT_LOWAT = 25
"""From linux/tcp.h; Python's socket module has no name for it."""


class Shared:
    """Events for a group of listeners; each encoding is made once, when first needed."""

    __slots__ = ("_packed", "_plain", "check", "events")

    def __init__(self, events: bytes, check: Check) -> None:
        self.events = events
        self._plain = self._packed = b""
        self.check = check

    @property
    def plain(self) -> bytes:
        """The chunk for listeners without gzip."""
        if not self._plain:
            self._plain = chunk(self.events)
        return self._plain

    @property
    def packed(self) -> bytes:
        """The chunk for listeners with gzip."""
        if not self._packed:
            self.check.add(self.events)
            self._packed = chunk(packed(self.events))
        return self._packed


class Owner(Protocol):
    """Writes to a listener and is told about it; the hub."""

    def paused(self, listener: "Listener") -> None:
        """Its buffer is full."""

    def resumed(self, listener: "Listener") -> None:
        """Its buffer has drained."""

    def closed(self, listener: "Listener") -> None:
        """Its connection is gone."""


class Listener(asyncio.Protocol):
    """`cursor` is the last sequence number written to it; `ready`, whether it accepts writes.

    One without chunks has no gzip either.
    """

    __slots__ = (
        "_chunked",
        "_ending",
        "_owner",
        "_received",
        "_transport",
        "_write",
        "cursor",
        "on_closed",
        "ready",
    )

    def __init__(
        self,
        owner: Owner,
        transport: asyncio.Transport,
        cursor: int,
        *,
        gzip: bool,
        chunked: bool = True,
    ) -> None:
        self._owner = owner
        self._ending = Ending() if gzip else None
        self._chunked = chunked
        self._transport = transport
        self._received = 0
        self.cursor = cursor
        self.ready = True
        self.on_closed: Callable[[], None] | None = None
        self._write = transport.write

    def take_over(self) -> None:
        """Become the protocol of the transport, and shrink its buffers."""
        transport = self._transport
        # uvloop returns a PseudoSocket; do not close it.
        pseudo_socket = transport.get_extra_info("socket")
        if pseudo_socket is not None and pseudo_socket.family != socket.AF_UNIX:
            pseudo_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            pseudo_socket.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)
            pseudo_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_TIMEOUT_MS)
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_HIGH_BYTES, low=WRITE_BUFFER_LOW_BYTES)

    def open(self, head: bytes, opening: bytes) -> None:
        """Send the response's head and the first events."""
        first = self._own(opening)
        self._hand_over(head + self._framed(first if self._ending is None else HEAD + first))

    def share(self, events: Shared) -> int:
        """Send events of the whole group; returns bytes written. May leave `ready` False."""
        if self._ending is None:
            data = events.plain if self._chunked else events.events
        else:
            data = events.packed
            self._ending.shared(events.check)
        self._hand_over(data)
        return len(data)

    def send(self, events: bytes) -> int:
        """Send events to this listener only; returns bytes written. May leave `ready` False."""
        data = self._framed(self._own(events))
        self._hand_over(data)
        return len(data)

    def _framed(self, data: bytes) -> bytes:
        return chunk(data) if self._chunked else data

    def _own(self, events: bytes) -> bytes:
        """The encoding of events for this listener only."""
        if self._ending is None:
            return events
        self._ending.own(events)
        return stored(events)

    def _hand_over(self, data: bytes) -> None:
        try:
            self._write(data)
        except RuntimeError:
            # uvloop raises this when the peer has just disconnected; `connection_lost` follows.
            self.ready = False

    def finish(self) -> None:
        """End the stream cleanly once its buffer has drained."""
        self.ready = False
        if not self._transport.is_closing():
            if self._chunked:
                end = b"" if self._ending is None else chunk(self._ending.blocks())
                self._hand_over(end + LAST_CHUNK)
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
