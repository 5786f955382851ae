"""Runs the application on a socket: start, serve, stop in order."""

import asyncio
import gc
import resource
import signal
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
import uvloop
from sanic import Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.http.constants import HTTP
from sanic.server.async_server import AsyncioServer

from adapters.tasks import end
from server.app import create_app
from server.backends.listen import address_of, bind
from server.http.accept import Acceptor
from server.http.protocol import StrictProtocol, reap
from server.settings import ServerSettings
from server.submit.batch_starter import EmbeddedWorker

log = structlog.get_logger()

BACKLOG = 4096
GC_THRESHOLD = 20_000
CLOSE_TIMEOUT_S = 2.0
READY_TIMEOUT_S = 30.0
"""A process that shares its port listens after this even if a service is unavailable."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A server that takes requests on `port` (0: on no TCP port); `failed`: it cannot continue."""

    port: int
    failed: asyncio.Event


def serve(settings: ServerSettings, embedded_worker: EmbeddedWorker | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain. Exit status: 0, or 1 when a part failed."""
    _raise_file_limit()
    return uvloop.run(_until_signal(settings, embedded_worker))


async def _until_signal(settings: ServerSettings, embedded_worker: EmbeddedWorker | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings, embedded_worker) as server:
        # These objects live as long as the process; keep the collector from scanning them.
        gc.collect()
        gc.freeze()
        # Each request leaves some objects that live until its batch is done. With the default
        # thresholds the collector scans them repeatedly: a tenth of the process's time.
        gc.set_threshold(GC_THRESHOLD)
        waits = [asyncio.create_task(event.wait()) for event in (stop, server.failed)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    log.info("stopped")
    return 1 if server.failed.is_set() else 0


@asynccontextmanager
async def running(
    settings: ServerSettings, embedded_worker: EmbeddedWorker | None = None
) -> AsyncIterator[Serving]:
    """The application on its socket for as long as the context lasts; drains on leaving.

    Raises OSError when the address is not available.
    """
    listening = bind(settings.host, settings.port, shared=settings.reuse_port)
    app = create_app(settings, embedded_worker)
    loop = asyncio.get_running_loop()
    connections: set[StrictProtocol] = set()
    acceptors = [
        Acceptor(
            each,
            partial(
                StrictProtocol,
                loop=loop,
                app=app,
                connections=connections,
                unix=each.getsockname() if each.family == socket.AF_UNIX else None,
            ),
            backlog=BACKLOG,
        )
        for each in listening
    ]
    # Only for its server events; Sanic's class for this has no types.
    server: Any = AsyncioServer(app, loop, None, connections)
    try:
        # Tells Sanic that there is no HTTP/3; otherwise each answer has an empty Alt-Svc.
        app.state.server_info.append(ApplicationServerInfo(settings={"version": HTTP.VERSION_1}))
        await server.startup()
        await server.before_start()
        if settings.reuse_port:
            # From here on the kernel gives it connections that another process could serve.
            await app.ctx.life.wait_until_ready(READY_TIMEOUT_S)
        for acceptor in acceptors:
            acceptor.start()
        await server.after_start()
        port, addresses = address_of(listening)
        log.info("serving", addresses=addresses, port=port)
        reaper = asyncio.create_task(
            reap(
                connections,
                request_s=settings.request_timeout_s,
                keep_alive_s=settings.keep_alive_s,
            )
        )
        try:
            yield Serving(port=port, failed=app.ctx.life.failed)
        finally:
            # Each step even if the one before failed: an embedded worker that is not told to
            # stop would keep the process alive.
            try:
                if settings.reuse_port:
                    # The other processes accept new connections; this one serves those it has.
                    _close(acceptors)
                await server.before_stop()
            finally:
                _close(acceptors)
                for acceptor in acceptors:
                    await acceptor.settled()
                await _close_connections(connections)
                await end([reaper])
                await server.after_stop()
    finally:
        Sanic.unregister_app(app)
        for each in listening:
            each.close()


async def _close_connections(connections: set[StrictProtocol]) -> None:
    """Close idle connections, give the others a moment, and abort the rest."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CLOSE_TIMEOUT_S
    while connections and loop.time() < deadline:
        for connection in list(connections):
            connection.close_if_idle()
        await asyncio.sleep(0.02)
    for connection in list(connections):
        connection.abort()  # type: ignore[no-untyped-call]


def _close(acceptors: Iterable[Acceptor]) -> None:
    for acceptor in acceptors:
        acceptor.close()


def _raise_file_limit() -> None:
    """Each listener needs a file descriptor, and the default soft limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
