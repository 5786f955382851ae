"""Connections to MySQL: a pool whose connections cannot hang or hold locks for long.

Not what is asked of it: see `server.backends.mysql` for reads, `worker` for the rest.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiomysql
import pymysql

from scoreboard.settings import MySqlAddress

CLOSE_TIMEOUT_S = 2
IDLE_TRANSACTION_S = 20
"""A worker that is stopped in mid transaction loses its locks after this many seconds:
the server closes connections that have been silent for so long."""

HOLD_S = -1.0
"""As a timeout of `Pool.connection`: the session's `hold_s`."""

GROUP_CONCAT_BYTES = 4 * 1024 * 1024

MYSQL_ERRORS = (pymysql.err.MySQLError, OSError, TimeoutError, RuntimeError)
"""What a MySQL that is away, restarting or without tables raises through aiomysql.

RuntimeError: the answer of the driver, or of uvloop, when a connection broke while in use.
"""


@dataclass(frozen=True, kw_only=True)
class Session:
    """How the connections of a pool are set up.

    `hold_s`: longest a unit of work may wait for a connection and hold it; after that
    the connection is closed and the server rolls back. `recycle_s`: an idle connection
    that is older is replaced before it is used.
    """

    init_command: str
    autocommit: bool
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
    hold_s=8.0,
    # Half the server's idle timeout, so that no dead connection is handed out.
    recycle_s=IDLE_TRANSACTION_S // 2,
)
READER = Session(
    init_command="SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    autocommit=True,
    hold_s=3.0,
    recycle_s=60,
)


class Pool:
    """A bounded pool that opens at first use and drops broken connections."""

    def __init__(self, address: MySqlAddress, *, size: int, session: Session = WRITER) -> None:
        self._address = address
        self._size = size
        self._session = session
        self._pool: Any = None
        self._opening = asyncio.Lock()

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
                connection = await pool.acquire()
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
