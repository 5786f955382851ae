"""The fault proxy: each fault does what it says to real sockets, and proves it."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvloop

from harness.net.fault_proxy import Mode, Proxy
from tests.support.eventually import eventually


def on_both_loops(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """asyncio and uvloop differ in when a pause takes hold and how a socket is reached."""

    @pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
    @functools.wraps(test)
    def on_one(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        run(test())

    # pytest must see the parameter, not the signature of what is wrapped.
    del on_one.__wrapped__
    return cast(Callable[..., None], on_one)


class EchoServer:
    """Answers each line with itself, twice as long; remembers what it was sent."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            while line := await reader.readline():
                self.received.append(line)
                writer.write(line.rstrip() * 2 + b"\n")
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def edge() -> AsyncIterator[tuple[Proxy, EchoServer]]:
    echo = EchoServer()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0, limit=1024 * 1024)
    proxy = Proxy("test", "127.0.0.1", server.sockets[0].getsockname()[1])
    await proxy.start()
    try:
        yield proxy, echo
    finally:
        while opened:
            opened.pop().close()
        await proxy.close()
        server.close()
        await asyncio.gather(*echo.serving)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

opened: list[asyncio.StreamWriter] = []
"""The clients of the edge there is; it closes them."""


async def connect(proxy: Proxy) -> Connection:
    connection = await asyncio.open_connection("127.0.0.1", proxy.port)
    opened.append(connection[1])
    return connection


async def ask(connection: Connection, line: bytes, *, timeout_s: float = 2.0) -> bytes:
    reader, writer = connection
    writer.write(line)
    return await asyncio.wait_for(reader.readline(), timeout_s)


@on_both_loops
async def test_traffic_passes_both_ways_without_a_fault() -> None:
    async with edge() as (proxy, _):
        connection = await connect(proxy)

        assert await ask(connection, b"ab\n") == b"abab\n"
        assert await ask(connection, b"cd\n") == b"cdcd\n"


@on_both_loops
async def test_much_more_than_any_buffer_passes_unharmed() -> None:
    async with edge() as (proxy, echo):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", proxy.port, limit=64 * 1024 * 1024
        )
        line = b"x" * 60_000 + b"\n"

        for _ in range(100):
            writer.write(line)
        answers = [await asyncio.wait_for(reader.readline(), 5) for _ in range(100)]

        assert {len(answer) for answer in answers} == {120_001}
        assert len(echo.received) == 100


@on_both_loops
async def test_a_reset_before_the_request_keeps_it_from_the_server() -> None:
    async with edge() as (proxy, echo):
        connection = await connect(proxy)
        proof = await proxy.arm(Mode.RESET_BEFORE, connections=1)

        with pytest.raises(ConnectionResetError):
            await ask(connection, b"ab\n")

        assert echo.received == []
        assert (proof.connections, proof.bytes) == (1, 3)


@on_both_loops
async def test_a_reset_after_the_request_lets_the_server_do_the_work() -> None:
    async with edge() as (proxy, echo):
        connection = await connect(proxy)
        proof = await proxy.arm(Mode.RESET_AFTER, connections=1)

        with pytest.raises(ConnectionResetError):
            await ask(connection, b"ab\n")

        assert echo.received == [b"ab\n"]
        assert (proof.connections, proof.bytes) == (1, 5)


@on_both_loops
async def test_a_reset_in_mid_reply_delivers_half_of_it() -> None:
    async with edge() as (proxy, echo):
        reader, writer = await connect(proxy)
        proof = await proxy.arm(Mode.RESET_MID_REPLY, connections=1)

        writer.write(b"abcd\n")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(9), 2)

        assert echo.received == [b"abcd\n"]
        assert proof.fired


@on_both_loops
async def test_a_fault_for_one_connection_leaves_the_next_alone() -> None:
    async with edge() as (proxy, _):
        await proxy.arm(Mode.RESET_BEFORE, connections=1)
        with pytest.raises(ConnectionResetError):
            await ask(await connect(proxy), b"ab\n")

        assert await ask(await connect(proxy), b"ab\n") == b"abab\n"


@on_both_loops
async def test_a_fault_can_wait_for_a_certain_request() -> None:
    async with edge() as (proxy, _):
        proof = await proxy.arm(Mode.RESET_BEFORE, only=b"POST")
        connection = await connect(proxy)
        assert await ask(connection, b"GET\n") == b"GETGET\n"
        assert not proof.fired

        with pytest.raises(ConnectionResetError):
            await ask(connection, b"POST\n")

        assert proof.connections == 1


@on_both_loops
async def test_latency_delays_and_keeps_the_order() -> None:
    async with edge() as (proxy, _):
        reader, writer = await connect(proxy)
        proof = await proxy.arm(Mode.LATENCY, latency_s=0.05)
        loop = asyncio.get_running_loop()
        began = loop.time()

        for line in (b"1\n", b"2\n", b"3\n"):
            writer.write(line)
        answers = [await asyncio.wait_for(reader.readline(), 2) for _ in range(3)]

        assert answers == [b"11\n", b"22\n", b"33\n"]
        assert loop.time() - began > 0.08
        assert proof.connections == 1


@on_both_loops
async def test_delayed_bytes_stay_ahead_of_bytes_sent_after_repair() -> None:
    async with edge() as (proxy, echo):
        _, writer = await connect(proxy)
        await proxy.arm(Mode.LATENCY, latency_s=0.1)
        writer.write(b"late\n")
        await eventually(lambda: proxy.proof.bytes > 0)

        await proxy.heal()
        writer.write(b"after\n")
        await eventually(lambda: len(echo.received) == 2)

        assert echo.received == [b"late\n", b"after\n"]


@on_both_loops
async def test_a_reply_that_never_comes_holds_until_healed_then_resets() -> None:
    async with edge() as (proxy, echo):
        reader, writer = await connect(proxy)
        proof = await proxy.arm(Mode.NO_REPLY)
        writer.write(b"ab\n")
        await eventually(lambda: proof.bytes == 5)
        assert echo.received == [b"ab\n"]

        await proxy.heal()

        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.readline(), 2)


@on_both_loops
async def test_a_hanging_edge_accepts_and_does_nothing() -> None:
    async with edge() as (proxy, echo):
        proof = await proxy.arm(Mode.HANG)
        connection = await connect(proxy)

        with pytest.raises(TimeoutError):
            await ask(connection, b"ab\n", timeout_s=0.2)

        assert echo.received == []
        assert proof.connections == 1


@on_both_loops
async def test_hanging_connection_stalls_and_loses_nothing() -> None:
    async with edge() as (proxy, _):
        reader, writer = await connect(proxy)
        await ask((reader, writer), b"ab\n")
        proof = await proxy.arm(Mode.HANG)
        writer.write(b"cd\n")
        assert proof.connections == 1

        await proxy.heal()

        assert await asyncio.wait_for(reader.readline(), 2) == b"cdcd\n"


@on_both_loops
async def test_refusing_edge_cuts_connections_and_reopens_its_port() -> None:
    async with edge() as (proxy, _):
        connection = await connect(proxy)
        await ask(connection, b"ab\n")
        proof = await proxy.arm(Mode.REFUSE)

        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)
        assert (proof.connections, proof.refused) == (1, 1)

        await proxy.heal()
        assert await ask(await connect(proxy), b"ab\n") == b"abab\n"


@on_both_loops
async def test_a_fault_that_hit_nothing_says_so() -> None:
    async with edge() as (proxy, _):
        proof = await proxy.arm(Mode.RESET_AFTER)

        await proxy.heal()

        assert not proof.fired


@on_both_loops
async def test_a_dead_upstream_looks_like_a_reset() -> None:
    proxy = Proxy("test", "127.0.0.1", 1)
    await proxy.start()
    try:
        with pytest.raises(ConnectionResetError):
            await ask(await connect(proxy), b"ab\n")
    finally:
        await proxy.close()
