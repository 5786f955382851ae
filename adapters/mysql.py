"""Connections to MySQL: a pool whose connections cannot hang, hold locks for long or stay with a
server that has been demoted.

Not what is asked of it: see `server.backends.mysql` for reads, `worker` for the rest.
"""

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiomysql
import pymysql
from pymysql.constants import CLIENT

from scoreboard.addresses import MySqlAddress
from scoreboard.settings import SettingsError

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
TLS_MISSING = 2026
"""MySQL's own number for a failed TLS connection."""

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
    the connection is closed and the server rolls back.
    """

    init_command: str
    autocommit: bool
    writes: bool
    hold_s: float


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
)
READER = Session(
    init_command="SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    autocommit=True,
    writes=False,
    hold_s=3.0,
)


@dataclass(slots=True, eq=False)
class _Held:
    """A connection of a pool: when it ends, and when its server was last asked whether it is
    read-only."""

    connection: Any
    ends_at: float
    checked_at: float


class _Connection(aiomysql.Connection):  # type: ignore[misc]
    """Refuses to go on in plain text when TLS was asked for; the driver would, and would answer
    whatever an impostor asks next with the password."""

    async def _request_authentication(self) -> None:
        if self._ssl_context is not None and not self.server_capabilities & CLIENT.SSL:
            raise pymysql.err.OperationalError(
                TLS_MISSING, "the server offers no TLS, which the address asks for"
            )
        await super()._request_authentication()


class Pool:
    """A bounded pool that opens at first use and drops connections that are broken, old, or lead
    to a server that has become read-only. It can be used again after `close`."""

    def __init__(self, address: MySqlAddress, *, size: int, session: Session = WRITER) -> None:
        self._session = session
        self._tls = tls_context(address)
        self._address = address
        self._room = asyncio.Semaphore(size)
        # Used last, first: with little to do, few connections are open.
        self._idle: list[_Held] = []
        self._held: set[_Held] = set()

    @asynccontextmanager
    async def connection(self, *, timeout_s: float | None = HOLD_S) -> AsyncIterator[Any]:
        """A connection in no transaction, for at most `timeout_s`: the session's `hold_s`
        by default, None for no limit here. Getting it never takes longer than `hold_s`.

        On any failure inside, the connection is closed and not reused, so no later user
        can commit what was left open. Raises MYSQL_ERRORS.
        """
        async with asyncio.timeout(self._session.hold_s if timeout_s == HOLD_S else timeout_s):
            async with asyncio.timeout(self._session.hold_s):
                await self._room.acquire()
            held = None
            try:
                async with asyncio.timeout(self._session.hold_s):
                    held = await self._usable()
                self._held.add(held)
                yield held.connection
                # Kept only when closing has not ended it meanwhile, and nothing is left open.
                if held in self._held and not held.connection.get_transaction_status():
                    self._idle.append(held)
                    held = None
            finally:
                if held is not None:
                    held.connection.close()
                    self._held.discard(held)
                self._room.release()

    async def close(self) -> None:
        """Close every connection, also those in use."""
        for held in self._held:
            held.connection.close()
        self._held.clear()
        self._idle.clear()

    async def _usable(self) -> _Held:
        """A connection that was checked a moment ago."""
        while self._idle:
            held = self._idle.pop()
            usable = False
            try:
                usable = await self._is_usable(held)
            finally:
                if not usable:
                    held.connection.close()
                    self._held.discard(held)
            if usable:
                return held
        return await self._opened()

    async def _is_usable(self, held: _Held) -> bool:
        now = time.monotonic()
        if held.connection.closed or now >= held.ends_at:
            return False
        if now - held.checked_at >= CHECK_INTERVAL_S:
            try:
                if await _is_read_only(held.connection):
                    return False
            except MYSQL_ERRORS:
                # Broken while idle: a new one tells whether the server is there.
                return False
            held.checked_at = now
        return True

    async def _opened(self) -> _Held:
        connection = _Connection(
            host=self._address.host,
            port=self._address.port,
            user=self._address.user,
            password=self._address.password,
            db=self._address.database,
            ssl=self._tls,
            # The driver's limit ends with the TCP handshake and, on Python 3.11, may
            # lose a cancellation (see `tasks.end`). `hold_s` bounds this instead.
            connect_timeout=None,
            charset="utf8mb4",
            autocommit=self._session.autocommit,
            init_command=self._session.init_command,
        )
        try:
            await connection._connect()
            if self._session.writes and await _is_read_only(connection):
                raise pymysql.err.OperationalError(
                    READ_ONLY_SERVER, "the server is read-only: a replica, or demoted"
                )
        except BaseException:
            connection.close()
            raise
        now = time.monotonic()
        # Not all at once.
        return _Held(connection, now + LIFETIME_S * random.uniform(0.8, 1.0), now)


def tls_context(address: MySqlAddress) -> ssl.SSLContext | None:
    """How the connections of an address are encrypted; None when they are not.

    Raises SettingsError for files that are no certificates or keys.
    """
    if address.ssl_mode == "DISABLED":
        return None
    try:
        context = ssl.create_default_context(cafile=address.ssl_ca or None)
        if address.ssl_cert:
            context.load_cert_chain(address.ssl_cert, address.ssl_key)
    except (OSError, ValueError) as error:
        names = ", ".join(address.files)
        raise SettingsError(
            f"SCOREBOARD_MYSQL_URL names files of no use ({names}): {error}"
        ) from None
    context.check_hostname = address.ssl_mode == "VERIFY_IDENTITY"
    if address.ssl_mode == "REQUIRED":
        context.verify_mode = ssl.CERT_NONE
    return context


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
