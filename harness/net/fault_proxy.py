"""A TCP proxy for one edge between two processes, with faults that prove they fired.

Knows no protocol: a *request* is a chunk from the client's side, a *reply* a chunk from the
other. That fits HTTP, Redis, MySQL and gRPC alike. Each fault is armed for a number of
connections or until healed, and counts what it really did to whom in a :class:`Proof`.

Not a simulator of packets: the kernel's TCP is real, so bytes are lost only together with
their connection.
"""

import asyncio
import contextlib
import enum
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

FORWARDED_WAIT_S = 1.0
"""How long a forwarded request may wait for its reply before the client is reset anyway."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Mode(enum.StrEnum):
    """The kinds of fault."""

    PASS = "pass"
    RESET_BEFORE = "reset-before-request"
    """The request is not forwarded; the client's connection is reset."""
    RESET_AFTER = "reset-after-request"
    """The request is forwarded and answered; the client sees a reset instead of the answer."""
    RESET_MID_REPLY = "reset-mid-reply"
    """Half of a reply arrives, then a reset."""
    LATENCY = "latency"
    """Every chunk arrives late, in order."""
    NO_REPLY = "no-reply"
    """Requests arrive, replies never do; the connection stays open until healed."""
    HANG = "hang"
    """New connections are accepted and ignored; open ones are frozen."""
    REFUSE = "refuse"
    """The port is closed, and open connections are reset."""


@dataclass
class Proof:
    """Counts of what an armed fault has affected."""

    mode: Mode
    connections: int = 0
    bytes: int = 0
    refused: int = 0

    @property
    def fired(self) -> bool:
        """Whether anything was affected at all."""
        return bool(self.connections or self.refused)

    def __str__(self) -> str:
        refused = f", {self.refused} refused" if self.refused else ""
        return f"{self.mode}: {self.connections} connections, {self.bytes} bytes{refused}"


class Proxy:
    """One edge. Start it, hand out its port, arm and heal at will, close it.

    Runs in the event loop that started it; about 10 µs of CPU per chunk.
    """

    def __init__(self, name: str, upstream_host: str, upstream_port: int) -> None:
        self.name = name
        self.upstream = (upstream_host, upstream_port)
        self.port = 0
        self.mode = Mode.PASS
        self.proof = Proof(Mode.PASS)
        self.latency_s = 0.0
        self.links: set[_Link] = set()
        self._left: int | None = None
        self._only: bytes | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0, *, listening: socket.socket | None = None) -> int:
        """Listen on 127.0.0.1, or on a socket that is bound already; returns the port. Raises
        OSError when it is taken."""
        loop = asyncio.get_running_loop()
        if listening is not None:
            self._server = await loop.create_server(lambda: _ClientSide(self), sock=listening)
            self.port = cast(int, listening.getsockname()[1])
            return self.port
        self._server = await loop.create_server(
            lambda: _ClientSide(self), "127.0.0.1", port or self.port, reuse_address=True
        )
        self.port = cast(int, self._server.sockets[0].getsockname()[1])
        return self.port

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        self.mode = Mode.PASS
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def arm(
        self,
        mode: Mode,
        *,
        connections: int | None = None,
        latency_s: float = 0.3,
        only: bytes | None = None,
    ) -> Proof:
        """Arm a fault, in place of any other, for `connections` or until :meth:`heal`.

        `only` restricts faults that wait for a request to those that contain these bytes.
        The proof returned goes on counting.
        """
        await self.heal()
        self.mode, self.latency_s, self._left, self._only = mode, latency_s, connections, only
        self.proof = Proof(mode)
        if mode is Mode.HANG:
            for link in list(self.links):
                if self.takes():
                    link.freeze()
                    self.affected(0)
        elif mode is Mode.REFUSE:
            await self._refuse()
        return self.proof

    async def heal(self) -> None:
        """Forward everything again. Connections that lost bytes or were half open are reset."""
        was, self.mode = self.mode, Mode.PASS
        for link in list(self.links):
            link.thaw()
        if was is Mode.REFUSE and self._server is None:
            await self.start(self.port)

    def cut(self) -> None:
        """Reset every open connection without counting it, so that idle clients reconnect."""
        for link in list(self.links):
            link.reset()

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in list(self.links):
            self.affected(0)
            link.reset()
        # Refused clients never reach this process, so one connect of our own proves the refusal.
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            return
        self.proof.refused += 1

    def takes(self, request: bytes | None = None) -> bool:
        """Whether the armed fault still wants another connection (and this request)."""
        if self._left == 0:
            return False
        return request is None or self._only is None or self._only in request

    def affected(self, size: int) -> None:
        """Count one more affected connection, over `size` bytes."""
        self.proof.connections += 1
        self.proof.bytes += size
        if self._left is not None:
            self._left -= 1
            if self._left == 0 and self.mode not in (Mode.NO_REPLY, Mode.HANG, Mode.LATENCY):
                # These faults hold their connections until healed; the others are over.
                self.mode = Mode.PASS

    def spawn(self, link: "_Link") -> None:
        """Connect a link to the other side, in the background."""
        task = asyncio.create_task(link.connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Link:
    """One client connection and its connection to the upstream."""

    def __init__(self, proxy: Proxy, client: asyncio.Transport) -> None:
        self.proxy = proxy
        self.client = client
        self.server: asyncio.Transport | None = None
        self._hung = False
        self._frozen = False
        self._swallows = False
        self._doomed = False
        self._slowed = False
        self._closed = False
        self._late_bytes = 0
        self._early: list[bytes] | None = []

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _ServerSide(self), *self.proxy.upstream)
        except OSError:
            self.reset()
            return
        early, self._early = self._early or [], None
        for data in early:
            self.request(data)
        if not self._closed and not self._frozen:
            self.client.resume_reading()

    def hang(self) -> None:
        """Accept the connection and ignore it."""
        self._hung = True

    def freeze(self) -> None:
        """Stop reading from both sides."""
        self._frozen = True
        for transport in (self.client, self.server):
            if transport is not None and transport.is_reading():
                transport.pause_reading()

    def thaw(self) -> None:
        """After the fault: resume a connection that lost nothing, reset one that did."""
        if self._hung or self._swallows or self._doomed:
            self.reset()
        elif self._frozen:
            self._frozen = False
            for transport in (self.client, self.server):
                if transport is not None and not transport.is_closing():
                    transport.resume_reading()
        self._slowed = False

    def request(self, data: bytes) -> None:
        if self._early is not None:
            # uvloop may deliver bytes that it had read before the pause.
            self._early.append(data)
            return
        proxy = self.proxy
        match proxy.mode:
            case Mode.RESET_BEFORE if proxy.takes(data):
                proxy.affected(len(data))
                self.reset()
                return
            case Mode.RESET_AFTER if not self._doomed and proxy.takes(data):
                self._doomed = True
                asyncio.get_running_loop().call_later(FORWARDED_WAIT_S, self._cut_off, 0)
            case Mode.NO_REPLY if not self._swallows and proxy.takes(data):
                self._swallows = True
                proxy.affected(0)
            case _:
                pass
        self._deliver(data, lambda: self.server)

    def reply(self, data: bytes) -> None:
        proxy = self.proxy
        if self._doomed:
            self._cut_off(len(data))
            return
        if self._swallows:
            proxy.proof.bytes += len(data)
            return
        if proxy.mode is Mode.RESET_MID_REPLY and proxy.takes():
            proxy.affected(len(data))
            self.client.write(data[: len(data) // 2])
            self.reset()
            return
        self._deliver(data, lambda: self.client)

    def _deliver(self, data: bytes, to: Callable[[], asyncio.Transport | None]) -> None:
        proxy = self.proxy
        if proxy.mode is Mode.LATENCY and proxy.takes() and not self._slowed:
            self._slowed = True
            proxy.affected(0)
        # Delayed bytes stay ahead of later ones, also after the fault has healed.
        if self._slowed or self._late_bytes:
            self._late_bytes += len(data)
            proxy.proof.bytes += len(data)
            asyncio.get_running_loop().call_later(proxy.latency_s, self._late, data, to)
        else:
            self._write(data, to())

    def _late(self, data: bytes, to: Callable[[], asyncio.Transport | None]) -> None:
        self._late_bytes -= len(data)
        self._write(data, to())

    @staticmethod
    def _write(data: bytes, to: asyncio.Transport | None) -> None:
        if to is not None and not to.is_closing():
            to.write(data)

    def _cut_off(self, size: int) -> None:
        if not self._closed:
            self.proxy.affected(size)
            self.reset()

    def reset(self) -> None:
        """End both connections with a TCP reset."""
        self._closed = True
        self.proxy.links.discard(self)
        for transport in (self.client, self.server):
            if transport is not None and not transport.is_closing():
                plain = transport.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                transport.abort()

    def end(self, other: asyncio.Transport | None) -> None:
        """One side has closed: flush `other`, then close it."""
        self._closed = True
        self.proxy.links.discard(self)
        if other is not None and not other.is_closing():
            delay_s = self.proxy.latency_s if self._late_bytes else 0.0
            asyncio.get_running_loop().call_later(delay_s, other.close)


class _ClientSide(asyncio.Protocol):
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._link: _Link | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        client = cast(asyncio.Transport, transport)
        client.pause_reading()
        self._link = _Link(self._proxy, client)
        self._proxy.links.add(self._link)
        if self._proxy.mode is Mode.HANG and self._proxy.takes():
            self._link.hang()
            self._proxy.affected(0)
        else:
            self._proxy.spawn(self._link)

    def data_received(self, data: bytes) -> None:
        assert self._link is not None
        self._link.request(data)

    def connection_lost(self, _error: Exception | None) -> None:
        assert self._link is not None
        self._link.end(self._link.server)

    def pause_writing(self) -> None:
        if self._link is not None and self._link.server is not None:
            self._link.server.pause_reading()

    def resume_writing(self) -> None:
        if self._link is not None and self._link.server is not None:
            self._link.server.resume_reading()


class _ServerSide(asyncio.Protocol):
    def __init__(self, link: _Link) -> None:
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link.server = cast(asyncio.Transport, transport)
        if self._link.client.is_closing():
            self._link.server.abort()

    def data_received(self, data: bytes) -> None:
        self._link.reply(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._link.end(self._link.client)

    def pause_writing(self) -> None:
        self._link.client.pause_reading()

    def resume_writing(self) -> None:
        self._link.client.resume_reading()
