"""Connections to MySQL: a pool whose connections cannot hang, hold locks for long or stay with a
server that has been demoted.

Not what is asked of it: see `server.backends.mysql` for reads, `worker` for the rest.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import aiomysql
import pymysql

from scoreboard.settings import MySqlAddress

CLOSE_TIMEOUT_S = 2
IDLE_TRANSACTION_S = 20
"""A worker that is stopped in mid transaction loses its locks after this many seconds:
the server closes connections that have been silent for so long."""

HOLD_S = -1.0
"""As a timeout of `Pool.connection`: the session's `hold_s`."""

LIFETIME_S = 30.0
"""A balancer that leads elsewhere is followed by every connection within this time."""

CHECK_INTERVAL_S = 1.0
"""A connection that was checked longer ago is checked before it is used."""

READ_ONLY_SERVER = 1290
# Newer versions answer with words.
READ_ONLY_EXPRESSION = " OR ".join(
    f"CAST(@@global.{name} AS CHAR) NOT IN ('0', 'OFF')"
    for name in ("read_only", "innodb_read_only")
)

GROUP_CONCAT_BYTES = 4 * 1024 * 1024

MYSQL_ERRORS = (pymysql.err.MySQLError, OSError, TimeoutError, RuntimeError)
"""What a MySQL that is away, restarting or without tables raises through aiomysql.

RuntimeError: the answer of the driver, or of uvloop, when a connection broke while in use.
"""


@dataclass(frozen=True, kw_only=True)
class Session:
    """How the connections of a pool are set up.

    `writes`: a server that is read-only is refused; other sessions only prefer one that is not.
    `hold_s`: longest a unit of work may wait for a connection and hold it; after that
    the connection is closed and the server rolls back. `recycle_s`: an idle connection
    that is older is replaced before it is used.
    """

    init_command: str
    autocommit: bool
    writes: bool
    hold_s: float
    recycle_s: int


WRITER = Session(
    init_command=(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;"
        f" SET SESSION wait_timeout = {IDLE_TRANSACTION_S},"
        " SESSION innodb_lock_wait_timeout = 5,"
        # Longer than a batch's users as one text; MySQL's default is 1 KiB.
        f" SESSION group_concat_max_len = {GROUP_CONCAT_BYTES}"
    ),
    autocommit=False,
    writes=True,
    hold_s=8.0,
    # Half the server's idle timeout, so that no dead connection is handed out.
    recycle_s=IDLE_TRANSACTION_S // 2,
)
READER = Session(
    init_command="SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    autocommit=True,
    writes=False,
    hold_s=3.0,
    recycle_s=60,
)


@dataclass(slots=True)
class _Seen:
    """A connection's end, and when its server was last asked whether it is read-only."""

    ends_at: float
    checked_at: float


class Pool:
    """A bounded pool that opens at first use and drops connections that are broken, old, or lead
    to a server that has become read-only."""

    def __init__(self, address: MySqlAddress, *, size: int, session: Session = WRITER) -> None:
        self._address = address
        self._size = size
        self._session = session
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._seen: WeakKeyDictionary[Any, _Seen] = WeakKeyDictionary()

    @asynccontextmanager
    async def connection(self, *, timeout_s: float | None = HOLD_S) -> AsyncIterator[Any]:
        """A connection in no transaction, for at most `timeout_s`: the session's `hold_s`
        by default, None for no limit here. Getting it never takes longer than `hold_s`.

        On any failure inside, the connection is closed and not reused, so no later user
        can commit what was left open. Raises MYSQL_ERRORS.
        """
        async with asyncio.timeout(self._session.hold_s if timeout_s == HOLD_S else timeout_s):
            async with asyncio.timeout(self._session.hold_s):
                pool = await self._opened()
                connection = await self._usable(pool)
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            finally:
                pool.release(connection)

    async def close(self) -> None:
        """Close every connection, also those in use."""
        if self._pool is not None:
            self._pool.terminate()
            # `wait_closed` blocks on checked-out connections, even closed ones.
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._pool.wait_closed()
            self._pool = None

    async def _usable(self, pool: Any) -> Any:
        """A connection, checked a moment ago. Every one that is dropped makes room for another."""
        while True:
            connection = await pool.acquire()
            usable = False
            try:
                usable = await self._is_usable(connection)
            finally:
                if not usable:
                    connection.close()
                    pool.release(connection)
            if usable:
                return connection

    async def _is_usable(self, connection: Any) -> bool:
        now = time.monotonic()
        seen = self._seen.get(connection)
        if seen is None:
            lifetime_s = LIFETIME_S * random.uniform(0.8, 1.0)  # Not all at once.
            self._seen[connection] = _Seen(now + lifetime_s, now)
            if self._session.writes and await _is_read_only(connection):
                raise pymysql.err.OperationalError(
                    READ_ONLY_SERVER, "the server is read-only: a replica, or demoted"
                )
            return True
        if now >= seen.ends_at:
            return False
        if now - seen.checked_at >= CHECK_INTERVAL_S:
            try:
                if await _is_read_only(connection):
                    return False
            except MYSQL_ERRORS:
                # Broken while idle: the next one tells whether the server is there.
                return False
            seen.checked_at = now
        return True

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await aiomysql.create_pool(
                    host=self._address.host,
                    port=self._address.port,
                    user=self._address.user,
                    password=self._address.password,
                    db=self._address.database,
                    minsize=1,
                    maxsize=self._size,
                    pool_recycle=self._session.recycle_s,
                    # The driver's limit ends with the TCP handshake and, on Python 3.11, may
                    # lose a cancellation (see `tasks.end`). `hold_s` bounds this instead.
                    connect_timeout=None,
                    charset="utf8mb4",
                    autocommit=self._session.autocommit,
                    init_command=self._session.init_command,
                )
            return self._pool


async def _is_read_only(connection: Any) -> bool:
    [[(read_only,)], _] = await query_all(connection, f"SELECT {READ_ONLY_EXPRESSION}; ROLLBACK")
    return bool(read_only)


async def query_all(connection: Any, statements: str) -> list[list[tuple[Any, ...]]]:
    """Run statements separated by semicolons in one round trip; the rows of each.

    The server stops at the first that fails. Only for text without input from
    outside: numbers and hexadecimal literals.
    """
    async with connection.cursor() as cursor:
        await cursor.execute(statements)
        results = [list(await cursor.fetchall())]
        while await cursor.nextset():
            results.append(list(await cursor.fetchall()))
        return results
