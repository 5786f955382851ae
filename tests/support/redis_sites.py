"""Redis as people run it: with replicas and Sentinels, as a cluster, by TLS. On free ports."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from stack.services import programs
from tests.support.reserved_ports import reserved_port

MASTER_NAME = "board"


@contextmanager
def redis_server(folder: Path, *options: str, sentinel: bool = False) -> Iterator[int]:
    """The port of a server of its own, without persistence."""
    port = reserved_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [programs.redis_server(folder)]
    if sentinel:
        config = folder / "sentinel.conf"
        config.write_text(f"port {port}\n" + "\n".join(options))
        command += [str(config), "--sentinel"]
    else:
        command += ["--port", str(port), "--save", "", "--dir", str(folder), *options]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with redis.Redis(port=port) as client:
            _answers(client)
        yield port
    finally:
        process.kill()
        process.wait()


def _answers(client: redis.Redis) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(redis.exceptions.RedisError):
            client.ping()
            return
        time.sleep(0.02)
    raise AssertionError("Redis does not answer")


def run(port: int, *words: str | int) -> Any:
    """The answer of the server on this port to a command."""
    with redis.Redis(port=port, decode_responses=True) as client:
        return client.execute_command(*words)


@contextmanager
def watched_pair(folder: Path) -> Iterator[tuple[int, int, int]]:
    """Ports of a primary, its replica and a Sentinel that watches them."""
    with ExitStack() as opened:
        primary = opened.enter_context(redis_server(folder / "a"))
        replica = opened.enter_context(
            redis_server(folder / "b", "--replicaof", f"127.0.0.1 {primary}")
        )
        sentinel = opened.enter_context(
            redis_server(
                folder / "s",
                f"sentinel monitor {MASTER_NAME} 127.0.0.1 {primary} 1",
                f"sentinel down-after-milliseconds {MASTER_NAME} 500",
                f"sentinel failover-timeout {MASTER_NAME} 3000",
                sentinel=True,
            )
        )
        yield primary, replica, sentinel


@asynccontextmanager
async def sentinel_that_names(named: list[int]) -> AsyncIterator[int]:
    """The port of something that answers as a Sentinel does: the master is at `named`'s port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            words = []
            for _ in range(int(head[1:])):
                await reader.readline()
                words.append((await reader.readline()).strip())
            if words[0].upper() == b"SENTINEL":
                port = str(named[0]).encode()
                writer.write(b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n" % (len(port), port))
            else:
                writer.write(b"+OK\r\n")
        writer.close()

    port = reserved_port()
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield port


@contextmanager
def cluster(folder: Path, count: int = 3) -> Iterator[list[int]]:
    """Ports of a cluster's nodes, the slots shared out in order."""
    with ExitStack() as opened:
        # By default 10,000 above the other port, where somebody else may listen.
        buses = [reserved_port() for _ in range(count)]
        ports = [
            opened.enter_context(
                redis_server(
                    folder / str(number),
                    *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
                    *("--cluster-port", str(bus)),
                )
            )
            for number, bus in enumerate(buses)
        ]
        for number, port in enumerate(ports):
            first, last = 16384 * number // count, 16384 * (number + 1) // count - 1
            run(port, "CLUSTER", "ADDSLOTSRANGE", first, last)
            run(port, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number:
                run(port, "CLUSTER", "MEET", "127.0.0.1", ports[0], buses[0])
        deadline = time.monotonic() + 30
        while any("cluster_state:ok" not in _info(port) for port in ports):
            assert time.monotonic() < deadline, "the cluster does not form"
            time.sleep(0.05)
        yield ports


def _info(port: int) -> str:
    found = run(port, "CLUSTER", "INFO")
    return (
        "\n".join(f"{name}:{value}" for name, value in found.items())
        if isinstance(found, dict)
        else str(found)
    )
