"""One open event stream: a transport, how far its listener is, and how bytes go to it.

Not an HTTP connection any more: `server.http.protocol.detach` took it away from Sanic,
so a listener costs a socket and this object, no task.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from scoreboard.gzipped import HEAD, Check, Ending, packed, stored
from scoreboard.sse import LAST_CHUNK, chunk

SEND_BUFFER_BYTES = 64 * 1024
"""In the kernel. With its default of megabytes a stalled listener goes unnoticed for minutes."""

NOT_SENT_BYTES = 16 * 1024
PEER_TIMEOUT_MS = 30_000
WRITE_BUFFER_HIGH_BYTES = 64 * 1024
WRITE_BUFFER_LOW_BYTES = 8 * 1024
MAX_RECEIVED_BYTES = 4096
"""A listener has nothing to say; one that keeps talking is disconnected."""

TCP_NOTSENT_LOWAT = 25
"""From linux/tcp.h; Python's socket module has no name for it."""


class Shared:
    """Events on their way to a group of listeners: each form is made once, when first needed."""

    __slots__ = ("_events", "_packed", "_plain", "check")

    def __init__(self, events: bytes, check: Check) -> None:
        self._events = events
        self._plain = self._packed = b""
        self.check = check

    @property
    def plain(self) -> bytes:
        """The chunk of a listener that takes no gzip."""
        if not self._plain:
            self._plain = chunk(self._events)
        return self._plain

    @property
    def packed(self) -> bytes:
        """The chunk of one that does."""
        if not self._packed:
            self.check.add(self._events)
            self._packed = chunk(packed(self._events))
        return self._packed


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

    __slots__ = (
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
        self, owner: Owner, transport: asyncio.Transport, cursor: int, *, gzip: bool
    ) -> None:
        self._owner = owner
        self._ending = Ending() if gzip else None
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

    def open(self, head: bytes, opening: bytes) -> None:
        """Send the response's head and the first events."""
        first = self._own(opening)
        self._hand_over(head + chunk(first if self._ending is None else HEAD + first))

    def share(self, events: Shared) -> int:
        """Send what the whole group gets; `ready` may be False after it. Returns bytes written."""
        if self._ending is None:
            data = events.plain
        else:
            data = events.packed
            self._ending.shared(events.check)
        self._hand_over(data)
        return len(data)

    def send(self, events: bytes) -> int:
        """Send what only this one gets; `ready` may be False after it. Returns bytes written."""
        data = chunk(self._own(events))
        self._hand_over(data)
        return len(data)

    def _own(self, events: bytes) -> bytes:
        """The form of what only this one gets."""
        if self._ending is None:
            return events
        self._ending.own(events)
        return stored(events)

    def _hand_over(self, data: bytes) -> None:
        try:
            self._write(data)
        except RuntimeError:
            # uvloop's answer when the peer has just gone; `connection_lost` is about to come.
            self.ready = False

    def finish(self) -> None:
        """End the stream cleanly once its buffer has drained."""
        self.ready = False
        if not self._transport.is_closing():
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
