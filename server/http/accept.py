"""Takes connections from a listening socket, many in a turn of the event loop.

libuv since 1.45 takes one a turn. A loop with work to do turns thirty times a second, so what a
burst of clients opens at once would wait in the kernel for minutes, request and all: measured on
4,000 connections beside 4,000 submissions/s, requests waited more than ten seconds that had their
effect within a second of being read.
"""

import asyncio
import errno
import socket
from collections.abc import Callable

import structlog

log = structlog.get_logger()

ACCEPTS_PER_TURN = 64
"""A new connection costs some 150 µs until its first request is read; what is known waits."""

PAUSE_S = 0.5
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """A listening socket and the protocols that its connections get."""

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
        """Listen. Raises OSError when somebody else listens there."""
        self._listening.setblocking(False)
        self._listening.listen(self._backlog)
        self._watch()

    def close(self) -> None:
        """Take what has connected already, and no more. The socket is closed."""
        if self._closed:
            return
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)
        # The kernel would reset them, requests that they may have sent included.
        self._accept(self._backlog)
        self._listening.close()

    async def settled(self) -> None:
        """Return once every connection that was taken has its protocol."""
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
                # It went away while it waited.
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
        """Until descriptors are free again: they stay in the queue, whose end refuses more."""
        if self._closed:
            return
        log.warning("cannot_accept", error=error.strerror)
        self._loop.remove_reader(self._listening)
        self._pause = self._loop.call_later(PAUSE_S, self._watch)
