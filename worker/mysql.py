"""Connections to MySQL: a pool whose connections cannot hang or hold locks for long.

Not what is asked of it: see `ledger` and `migrate`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomysql

from scoreboard.settings import MySqlAddress

STATEMENT_TIMEOUT_S = 8.0
"""Longest a unit of work may hold a connection; then it is closed and the server rolls back."""

IDLE_TRANSACTION_S = 20
"""A worker that is stopped in mid transaction loses its locks after this many seconds:
the server closes connections that have been silent for so long."""


GROUP_CONCAT_BYTES = 4 * 1024 * 1024


class Pool:
    """A bounded pool that opens itself at first use and forgets broken connections."""

    def __init__(self, address: MySqlAddress, *, size: int) -> None:
        self._address = address
        self._size = size
        self._pool: Any = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def connection(
        self, *, timeout_s: float | None = STATEMENT_TIMEOUT_S
    ) -> AsyncIterator[Any]:
        """A connection in no transaction, for at most `timeout_s`; None leaves that to the caller.

        Whatever goes wrong inside, the connection is closed and not reused, so
        no later user can commit what was left open. Raises the driver's errors,
        and TimeoutError.
        """
        async with asyncio.timeout(timeout_s):
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
        """Close every connection; waits for those in use."""
        if self._pool is not None:
            self._pool.terminate()
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
                    # Shorter than the server's patience, so none is found dead.
                    pool_recycle=IDLE_TRANSACTION_S // 2,
                    connect_timeout=3,
                    charset="utf8mb4",
                    autocommit=False,
                    init_command=(
                        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;"
                        f" SET SESSION wait_timeout = {IDLE_TRANSACTION_S},"
                        " SESSION innodb_lock_wait_timeout = 5,"
                        # Longer than a batch's users as one text; MySQL's default is 1 KiB.
                        f" SESSION group_concat_max_len = {GROUP_CONCAT_BYTES}"
                    ),
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
