"""Accepts many connections from a listening socket in one turn of the event loop.

libuv since 1.45 accepts one per turn. A busy loop turns thirty times a second, so a burst of
connections would wait in the kernel for minutes, requests included: measured with 4,000 connections
beside 4,000 submissions/s, requests waited more than ten seconds that took effect within a second
of being read.
"""

import asyncio
import errno
import socket
from collections.abc import Callable

import structlog

log = structlog.get_logger()

ACCEPTS_PER_TURN = 64
"""A new connection costs some 150 µs until its first request is read; known ones wait meanwhile."""

PAUSE_S = 0.5
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """A listening socket; `factory` makes the protocol of each connection."""

    def __init__(
        self, listening: socket.socket, factory: Callable[[], asyncio.Protocol], *, backlog: int
    ) -> None:
        self._listening = listening
        self._factory = factory
        self._backlog = backlog
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Listen. Raises OSError when the address is in use."""
        self._listening.setblocking(False)
        self._listening.listen(self._backlog)
        self._watch()

    def close(self) -> None:
        """Accept what has connected already, then close the socket."""
        if self._closed:
            return
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)
        # The kernel would reset pending connections, with requests they may have sent.
        self._accept(self._backlog)
        self._listening.close()

    async def settled(self) -> None:
        """Return once every accepted connection has its protocol."""
        while self._opening:
            await asyncio.wait(self._opening)

    def _watch(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._accept, ACCEPTS_PER_TURN)

    def _accept(self, most: int) -> None:
        for _ in range(most):
            try:
                connection, _ = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._wait(error)
                    return
                # The client disconnected before accept.
                continue
            connection.setblocking(False)
            task = self._loop.create_task(self._open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection)
        except OSError:
            connection.close()

    def _wait(self, error: OSError) -> None:
        """Pause until descriptors are free: connections stay in the backlog, which refuses more."""
        if self._closed:
            return
        log.warning("cannot_accept", error=error.strerror)
        self._loop.remove_reader(self._listening)
        self._pause = self._loop.call_later(PAUSE_S, self._watch)
