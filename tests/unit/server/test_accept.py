"""Connections are accepted in bulk, none is dropped, and a process at its limit waits."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from server.http.accept import ACCEPTS_PER_TURN, Acceptor
from tests.support.eventually import eventually

HOST = "127.0.0.1"


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(b"hello")
        transport.close()


class Door:
    """An acceptor on a socket of its own, and clients who have connected to it."""

    def __init__(self) -> None:
        self.listening = socket.create_server((HOST, 0), backlog=1024)
        self.made: list[asyncio.Protocol] = []
        self.acceptor = Acceptor(self.listening, self._protocol, backlog=1024)
        self.clients: list[socket.socket] = []

    def _protocol(self) -> asyncio.Protocol:
        self.made.append(Greeter())
        return self.made[-1]

    def connect(self, count: int) -> None:
        for _ in range(count):
            client = socket.create_connection(self.listening.getsockname(), timeout=5)
            client.setblocking(False)
            self.clients.append(client)

    async def greeted(self) -> bool:
        loop = asyncio.get_running_loop()
        heard = [await loop.sock_recv(client, 100) for client in self.clients]
        return heard == [b"hello"] * len(self.clients)


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Door]:
    opened = Door()
    yield opened
    opened.acceptor.close()
    for client in opened.clients:
        client.close()


async def test_a_burst_is_taken_in_few_turns(door: Door) -> None:
    count = 3 * ACCEPTS_PER_TURN
    door.connect(count)
    door.acceptor.start()

    turns = 0
    while len(door.made) < count:
        await asyncio.sleep(0)
        turns += 1

    # A turn to accept and one to open, for each part of the burst.
    assert turns < 20
    assert await door.greeted()


async def test_connections_made_before_shutdown_are_accepted(door: Door) -> None:
    address = door.listening.getsockname()
    door.acceptor.start()
    door.connect(5)

    door.acceptor.close()

    await eventually(lambda: len(door.made) == 5)
    assert await door.greeted()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=1)


async def test_settled_acceptor_has_made_every_protocol(door: Door) -> None:
    """Whoever closes the connections after it then misses none."""
    door.acceptor.start()
    door.connect(5)
    door.acceptor.close()

    await asyncio.wait_for(door.acceptor.settled(), 1)

    assert len(door.made) == 5


async def test_without_descriptors_connections_wait(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.http.accept.PAUSE_S", 0.05)
    refusals = 3

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(door.listening, name)

        def accept(self) -> Any:
            nonlocal refusals
            if refusals:
                refusals -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return door.listening.accept()

    door.acceptor._listening = Full()  # type: ignore[assignment]
    door.connect(3)
    door.acceptor.start()

    await eventually(lambda: len(door.made) == 3)

    assert refusals == 0
    assert await door.greeted()


async def test_a_client_that_has_gone_costs_nobody_else(door: Door) -> None:
    door.connect(3)
    gone = door.clients.pop(1)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    gone.close()

    door.acceptor.start()

    assert await door.greeted()
