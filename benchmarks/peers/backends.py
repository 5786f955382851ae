"""Private MySQL, Redis and Temporal for a run, the same instances for every peer.

MySQL syncs at each commit, Temporal has a file database with synchronous FULL:
the durable settings of `stack.services`. Each launch of a peer gets a database
and a task queue of its own, and an empty Redis.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiomysql
import redis.asyncio

from scoreboard.addresses import mysql_address
from stack.process import Process
from stack.services import Mysql, Redis, Service, Temporal, start


@dataclass(frozen=True, kw_only=True)
class Backends:
    """Addresses and process ids by service name."""

    urls: Mapping[str, str]
    pids: Mapping[str, int]
    folder: Path


@asynccontextmanager
async def open_backends(folder: Path) -> AsyncIterator[Backends]:
    """Start the three services in `folder`; they end with the context."""
    services: list[Service] = [
        Mysql(folder / "mysql"),
        Redis(folder / "redis"),
        Temporal(folder / "temporal"),
    ]
    async with AsyncExitStack() as opened:

        def end_with_context(process: Process, _port: int) -> None:
            opened.callback(process.kill)

        async def start_one(service: Service) -> tuple[str, int]:
            await service.prepare()
            started = await start(
                service,
                log=folder / f"{service.name}.log",
                on_spawn=end_with_context,
            )
            return service.url(started.port), started.process.pid

        answers = await asyncio.gather(*(start_one(service) for service in services))
        yield Backends(
            urls={s.name: url for s, (url, _) in zip(services, answers, strict=True)},
            pids={s.name: pid for s, (_, pid) in zip(services, answers, strict=True)},
            folder=folder,
        )


@asynccontextmanager
async def mysql_connection(url: str) -> AsyncIterator[Any]:
    """One autocommit connection."""
    address = mysql_address(url)
    connection = await aiomysql.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        db=address.database,
        autocommit=True,
    )
    try:
        yield connection
    finally:
        connection.close()


async def query(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """The rows of one statement."""
    async with connection.cursor() as cursor:
        await cursor.execute(sql)
        return list(await cursor.fetchall())


async def empty_redis(url: str) -> None:
    """Forget all that this Redis database holds."""
    async with aclosing(redis.asyncio.Redis.from_url(url)) as client:
        await client.flushdb()


@asynccontextmanager
async def fresh_surroundings(
    backends: Backends, redis_database: int = 0
) -> AsyncIterator[dict[str, str]]:
    """The environment of one launch: a database and a task queue of its own, an empty Redis."""
    redis_url = urlunsplit(urlsplit(backends.urls["redis"])._replace(path=f"/{redis_database}"))
    name = f"peer_{secrets.token_hex(6)}"
    async with mysql_connection(backends.urls["mysql"]) as connection:
        await query(connection, f"CREATE DATABASE {name} COLLATE utf8mb4_bin")
        await empty_redis(redis_url)
        parts = urlsplit(backends.urls["mysql"])
        try:
            yield {
                "SCOREBOARD_MYSQL_URL": urlunsplit(parts._replace(path=f"/{name}")),
                "SCOREBOARD_REDIS_URL": redis_url,
                "SCOREBOARD_TEMPORAL_ADDRESS": backends.urls["temporal"],
                "SCOREBOARD_TASK_QUEUE": name,
                "SCOREBOARD_JWT_SECRET": secrets.token_hex(32),
            }
        finally:
            await query(connection, f"DROP DATABASE {name}")
