"""Real MySQL, Redis and Temporal for tests: private instances, containers or given addresses.

`open_services` hands over addresses that answer; the helpers below give each test a part of them
that nobody else uses. Services are real in every kind: nothing here imitates one.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import aiomysql
import pymysql
import redis

from stack.process import Process
from stack.services import Mysql, Redis, Service, Temporal, start
from stack.settings import CLUSTER, TEMPORAL_SERVER_VARIABLE
from stack.temporal_cluster import Cluster

KINDS = ("auto", "local", "containers", "addresses")
_VARIABLES = {
    "mysql": "SCOREBOARD_MYSQL_URL",
    "redis": "SCOREBOARD_REDIS_URL",
    "temporal": "SCOREBOARD_TEMPORAL_ADDRESS",
}

MEMORY_PREFIX = "scoreboard-tests-"
MEMORY_ROOM_BYTES = 2 << 30
"""One set of services takes 250 MiB when it is new, several sets may start at once."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """Addresses of running services. The MySQL user may create databases."""

    mysql_url: str
    redis_url: str
    temporal_address: str
    kind: str


@contextmanager
def open_services(kind: str, folder: Path) -> Iterator[Services]:
    """Services of one kind, ended on exit if they were started here.

    `auto` takes each address that the environment gives and starts the others locally. Containers
    serve MySQL and Redis, and Temporal where SCOREBOARD_TEMPORAL_IMAGE names an image. With
    SCOREBOARD_TEMPORAL_SERVER=cluster the local Temporal is one of several processes.
    """
    with ExitStack() as opened:
        urls: dict[str, str] = {}
        if kind in ("auto", "addresses"):
            urls = {name: os.environ[v] for name, v in _VARIABLES.items() if os.environ.get(v)}
            if kind == "addresses" and (missing := _VARIABLES.keys() - urls.keys()):
                names = ", ".join(sorted(_VARIABLES[name] for name in missing))
                raise ValueError(f"--services addresses needs these variables too: {names}")
        elif kind == "containers":
            from tests.support import containers

            urls = opened.enter_context(containers.open_containers())
        urls |= opened.enter_context(_open_local(_VARIABLES.keys() - urls.keys(), folder))
        yield Services(
            mysql_url=urls["mysql"],
            redis_url=urls["redis"],
            temporal_address=urls["temporal"],
            kind=kind,
        )


@contextmanager
def _open_local(names: set[str], folder: Path) -> Iterator[dict[str, str]]:
    kinds: dict[str, Callable[[Path], Service]] = {
        "mysql": Mysql,
        "redis": Redis,
        "temporal": Temporal,
    }
    several = "temporal" in names and os.environ.get(TEMPORAL_SERVER_VARIABLE) == CLUSTER
    if several:
        names = names - {"temporal"}
    with ExitStack() as opened:

        def kill_on_exit(process: Process, _port: int) -> None:
            opened.callback(process.kill)

        async def start_one(name: str) -> tuple[str, str]:
            service = kinds[name](folder / name)
            await service.prepare()
            started = await start(
                service,
                log=folder / f"{name}.log",
                on_spawn=kill_on_exit,
            )
            return name, service.url(started.port)

        async def start_part(service: Service) -> None:
            await service.prepare()
            await start(service, log=folder / f"{service.name}.log", on_spawn=kill_on_exit)

        async def start_cluster() -> tuple[str, str]:
            cluster = Cluster(folder / "temporal-cluster")
            await cluster.start(start_part)
            return "temporal", cluster.frontend.address

        async def start_all() -> dict[str, str]:
            starts = [start_one(name) for name in sorted(names)]
            if several:
                starts.append(start_cluster())
            return dict(await asyncio.gather(*starts))

        yield asyncio.run(start_all())


@contextmanager
def memory_folder(fallback: Path) -> Iterator[Path]:
    """A folder on a memory disk, gone on exit; `fallback` where there is no such disk with room.

    Syncs cost nothing there, and nothing else changes. What a killed test run left behind is
    removed by the next one.
    """
    disk = Path("/dev/shm")
    if not os.access(disk, os.W_OK) or shutil.disk_usage(disk).free < MEMORY_ROOM_BYTES:
        yield fallback
        return
    for folder in disk.glob(f"{MEMORY_PREFIX}*"):
        pid = folder.name.removeprefix(MEMORY_PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{MEMORY_PREFIX}{os.getpid()}-", dir=disk))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def mysql_parameters(url: str) -> dict[str, Any]:
    """`mysql://user:password@host:port/db` as keyword arguments of aiomysql.connect."""
    parts = urlsplit(url)
    return {
        "host": parts.hostname,
        "port": parts.port or 3306,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "db": parts.path.lstrip("/") or None,
    }


@contextmanager
def fresh_database(mysql_url: str) -> Iterator[str]:
    """The URL of a new, empty database, dropped on exit."""
    url = create_database(mysql_url)
    try:
        yield url
    finally:
        end_connections(url)
        drop_database(url)


def create_database(mysql_url: str) -> str:
    """The URL of a new, empty database on the same server."""
    name = f"scoreboard_{secrets.token_hex(6)}"
    server = _with_path(mysql_url, "")
    execute_sync(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    return _with_path(mysql_url, name)


def end_connections(database_url: str) -> None:
    """Kill what is connected to a database.

    A connection that a failed test left in a transaction would block the next statement for ever.
    """
    server, name = _with_path(database_url, ""), mysql_parameters(database_url)["db"]
    users = f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"
    for (connection_id,) in execute_sync(server, users):
        with suppress(pymysql.MySQLError):
            execute_sync(server, f"KILL {connection_id}")


def drop_database(database_url: str) -> None:
    """Forget a database."""
    name = mysql_parameters(database_url)["db"]
    execute_sync(_with_path(database_url, ""), f"DROP DATABASE {name}")


@contextmanager
def cursor_sync(mysql_url: str) -> Iterator[Any]:
    """A cursor on an autocommit connection of its own, for code without an event loop."""
    parameters = mysql_parameters(mysql_url)
    database = parameters.pop("db")
    connection = pymysql.connect(**parameters, database=database, autocommit=True)
    with connection, connection.cursor() as cursor:
        yield cursor


def execute_sync(mysql_url: str, statement: str) -> tuple[tuple[Any, ...], ...]:
    """The rows of one statement on a connection of its own."""
    with cursor_sync(mysql_url) as cursor:
        cursor.execute(statement)
        return tuple(cursor.fetchall())


def _with_path(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


def empty_redis_database(redis_url: str) -> str:
    """The URL of the last numbered Redis database that holds nothing.

    Raises RuntimeError when none is empty: tests flush what they get, and an address given by a
    person may hold data.
    """
    with redis.Redis.from_url(redis_url) as client:
        count = int(client.config_get("databases")["databases"])
    for number in reversed(range(count)):
        url = _with_path(redis_url, str(number))
        with redis.Redis.from_url(url) as client:
            if client.dbsize() == 0:
                return url
    raise RuntimeError(f"every Redis database at {redis_url} holds data; none is free for tests")


@contextmanager
def flushed_redis(redis_url: str) -> Iterator[str]:
    """The same URL, its database emptied before and after."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        client.script_flush()
        try:
            yield redis_url
        finally:
            client.flushdb()


@asynccontextmanager
async def mysql_connection(mysql_url: str) -> AsyncIterator[aiomysql.Connection]:
    """One autocommit connection for a test's own look into the tables."""
    connection = await aiomysql.connect(**mysql_parameters(mysql_url), autocommit=True)
    try:
        yield connection
    finally:
        connection.close()
