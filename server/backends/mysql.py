"""MySQL as the API process sees it: read-only. Everything that writes is in `worker`."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiomysql
import msgspec
import pymysql

from scoreboard.domain import Change, Standing
from scoreboard.settings import MySqlAddress

BOARD_ID = 1
CONNECTIONS = 4
QUERY_TIMEOUT_S = 3.0
CLOSE_TIMEOUT_S = 2
IDLE_CONNECTION_S = 60

_BETTER = (
    "SELECT id, name, score FROM users WHERE score > %s"
    " OR (score = %s AND (seq < %s OR (seq = %s AND id < %s)))"
    " ORDER BY score ASC, seq DESC, id DESC LIMIT %s"
)
_WORSE = (
    "SELECT id, name, score FROM users WHERE score < %s"
    " OR (score = %s AND (seq > %s OR (seq = %s AND id >= %s)))"
    " ORDER BY score DESC, seq ASC, id ASC LIMIT %s"
)

MYSQL_ERRORS = (pymysql.err.MySQLError, OSError, TimeoutError, RuntimeError)
"""What a MySQL that is away, restarting or without tables raises through aiomysql.

RuntimeError: the driver's answer when a connection broke while in use.
"""


class Decided(msgspec.Struct, frozen=True, gc=False):
    """What the ledger holds of a submission, to compare a repeat with."""

    user_id: int
    increment: int


class LedgerEntry(msgspec.Struct, frozen=True, gc=False):
    """A decided submission."""

    principal: bytes
    user_id: int
    increment: int
    outcome: str
    seq: int | None
    score_after: int | None
    committed_at_us: int


class RankedUser(msgspec.Struct, frozen=True, gc=False):
    """A user and how many have a better score."""

    user_id: int
    name: str
    score: int
    better: int


class Case(msgspec.Struct, frozen=True, gc=False):
    """A submission that was held, and how its review ended if it did."""

    submission_id: bytes
    user_id: int
    user: str | None
    increment: int
    outcome: str
    reasons: str
    opened_at_us: int
    decision: str | None
    decided_by: bytes | None
    decided_at_us: int | None


class Board(msgspec.Struct, frozen=True, gc=False):
    """The board's last sequence number, and which history it belongs to."""

    seq: int
    incarnation: str


class LedgerReader:
    """Reads of the ledger and the board. Opens at first use and again after any failure."""

    def __init__(self, address: MySqlAddress) -> None:
        self._address = address
        self._pool: Any = None
        self._opening = asyncio.Lock()

    async def board(self) -> Board:
        """The board as of now. Raises MYSQL_ERRORS, as do all methods here."""
        rows = await self._rows("SELECT seq, incarnation FROM boards WHERE id = %s", (BOARD_ID,))
        return Board(*_the_board(rows))

    async def changes_after(self, seq: int, limit: int) -> list[Change]:
        """The next changes in order, at most `limit`; they start at `seq` + 1."""
        rows = await self._rows(
            # A user removed by hand must not leave a gap that stops the stream.
            "SELECT l.seq, l.user_id, COALESCE(u.name, ''), l.score_after, l.committed_at_us"
            " FROM ledger l LEFT JOIN users u ON u.id = l.user_id"
            " WHERE l.seq > %s ORDER BY l.seq LIMIT %s",
            (seq, limit),
        )
        return [
            Change(seq=row[0], user_id=row[1], name=row[2], score=row[3], committed_us=row[4])
            for row in rows
        ]

    async def decided(self, ids: Collection[bytes]) -> dict[bytes, Decided]:
        """Those of the submissions that the ledger has."""
        if not ids:
            return {}
        rows = await self._rows(
            "SELECT submission_id, user_id, increment FROM ledger"
            f" WHERE submission_id IN ({','.join(['UNHEX(%s)'] * len(ids))})",
            # The driver cannot escape bytes.
            tuple(submission_id.hex() for submission_id in ids),
        )
        return {row[0]: Decided(row[1], row[2]) for row in rows}

    async def outcome(self, submission_id: bytes) -> LedgerEntry | None:
        """What the ledger says of one submission."""
        rows = await self._rows(
            "SELECT principal, user_id, increment, outcome, seq, score_after, committed_at_us"
            " FROM ledger WHERE submission_id = UNHEX(%s)",
            (submission_id.hex(),),
        )
        return LedgerEntry(*rows[0]) if rows else None

    async def cases(self, *, open_only: bool, limit: int) -> list[Case]:
        """Held submissions, oldest first when open, latest decision first when all."""
        where = "WHERE r.decision IS NULL" if open_only else ""
        order = "r.opened_at_us" if open_only else "r.decided_at_us DESC, r.opened_at_us DESC"
        rows = await self._rows(
            "SELECT r.submission_id, l.user_id, u.name, l.increment, l.outcome, r.reasons,"
            " r.opened_at_us, r.decision, r.decided_by, r.decided_at_us"
            " FROM reviews r JOIN ledger l ON l.submission_id = r.submission_id"
            f" LEFT JOIN users u ON u.id = l.user_id {where} ORDER BY {order} LIMIT %s",
            (limit,),
        )
        return [Case(*row) for row in rows]

    async def around(self, user_id: int, neighbours: int) -> tuple[int, list[RankedUser]]:
        """The board's seq, and the user with the users around, best first; empty without user."""
        async with self._connection() as connection, connection.cursor() as cursor:
            await cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            try:
                await cursor.execute("SELECT seq FROM boards WHERE id = %s", (BOARD_ID,))
                (board_seq,) = _the_board(await cursor.fetchall())
                await cursor.execute("SELECT score, seq FROM users WHERE id = %s", (user_id,))
                own = await cursor.fetchall()
                if not own:
                    return board_seq, []
                score, seq = own[0]
                await cursor.execute(_BETTER, (score, score, seq, seq, user_id, neighbours))
                before = list(await cursor.fetchall())[::-1]
                await cursor.execute(_WORSE, (score, score, seq, seq, user_id, neighbours + 1))
                rows = before + list(await cursor.fetchall())
                better: dict[int, int] = {}
                for row_score in {row[2] for row in rows}:
                    await cursor.execute(
                        "SELECT COUNT(*) FROM users WHERE score > %s", (row_score,)
                    )
                    [(better[row_score],)] = await cursor.fetchall()
            finally:
                await connection.rollback()
        return board_seq, [RankedUser(row[0], row[1], row[2], better[row[2]]) for row in rows]

    async def is_empty(self) -> bool:
        """Whether no submission was ever decided."""
        return not await self._rows("SELECT 1 FROM ledger LIMIT 1", ())

    async def top(self, limit: int, offset: int) -> tuple[int, Sequence[Standing]]:
        """The board's seq and its places `offset` to `offset + limit`, of one moment."""
        async with self._connection() as connection, connection.cursor() as cursor:
            await cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            try:
                await cursor.execute("SELECT seq FROM boards WHERE id = %s", (BOARD_ID,))
                (seq,) = _the_board(await cursor.fetchall())
                await cursor.execute(
                    "SELECT name, score FROM users"
                    " ORDER BY score DESC, seq ASC, id ASC LIMIT %s OFFSET %s",
                    (limit, offset),
                )
                rows = await cursor.fetchall()
            finally:
                await connection.rollback()
        return seq, [Standing(user=name, score=score) for name, score in rows]

    async def close(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            self._pool.terminate()
            # It waits for whoever still holds a connection, even one that is closed.
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._pool.wait_closed()
            self._pool = None

    async def _rows(self, query: str, arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        async with self._connection() as connection, connection.cursor() as cursor:
            await cursor.execute(query, arguments)
            return list(await cursor.fetchall())

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        async with asyncio.timeout(QUERY_TIMEOUT_S):
            pool = await self._opened()
            connection = await pool.acquire()
            try:
                yield connection
            except BaseException:
                # Whatever state it is in, nobody else shall have it.
                connection.close()
                raise
            finally:
                pool.release(connection)

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
                    maxsize=CONNECTIONS,
                    pool_recycle=IDLE_CONNECTION_S,
                    # No limit of the driver's: it would forget a cancellation (see `tasks.end`);
                    # QUERY_TIMEOUT_S bounds this too.
                    connect_timeout=None,
                    charset="utf8mb4",
                    autocommit=True,
                    init_command=(
                        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
                    ),
                )
            return self._pool


def _the_board(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The one row of the board; it is not there yet while the tables are being made."""
    if not rows:
        raise pymysql.err.OperationalError("the board has no row yet")
    return rows[0]
