"""MySQL as the API process sees it: read-only. Everything that writes is in `worker`."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import pymysql

from adapters.ledger_queries import (
    BOARD_ID,
    BOARD_QUERY,
    CLOCK_QUERY,
    BoardRow,
    Run,
    board_from,
    changes_from,
    changes_query,
    run_after,
)
from adapters.mysql import (
    READ_ONLY_EXPRESSION,
    READ_ONLY_SERVER,
    READER,
    Pool,
    query_all,
)
from adapters.schema import VERSIONS_QUERY, schema_fault
from scoreboard.addresses import MySqlAddress
from scoreboard.domain import Change, Standing
from server.backends.case_queries import (
    HOLDERS_QUERY,
    PLACE_QUERY,
    CaseFilter,
    Place,
    cases_query,
)

CONNECTIONS = 4

# By idx_score, whose entries are in the board's order: what is read depends on the place asked
# for, not on the number of users. The inner query of TOP_QUERY reads the index alone.
TOP_QUERY = (
    "SELECT id, name, score FROM users JOIN (SELECT id FROM users FORCE INDEX (idx_score)"
    " ORDER BY score DESC, seq ASC, id ASC LIMIT %s OFFSET %s) AS places USING (id)"
    " ORDER BY score DESC, seq ASC, id ASC"
)
BETTER_QUERY = (
    "SELECT id, name, score FROM users FORCE INDEX (idx_score) WHERE score > %s"
    " OR (score = %s AND (seq < %s OR (seq = %s AND id < %s)))"
    " ORDER BY score ASC, seq DESC, id DESC LIMIT %s"
)
WORSE_QUERY = (
    "SELECT id, name, score FROM users FORCE INDEX (idx_score) WHERE score < %s"
    " OR (score = %s AND (seq > %s OR (seq = %s AND id >= %s)))"
    " ORDER BY score DESC, seq ASC, id ASC LIMIT %s"
)
RANK_QUERY = "SELECT COUNT(*) FROM users FORCE INDEX (idx_score) WHERE score > %s"


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


class CaseEnd(msgspec.Struct, frozen=True, gc=False):
    """How the case of a submission ended."""

    decision: str
    decided_by: bytes
    outcome: str


class Holder(msgspec.Struct, frozen=True, gc=False):
    """A user with open cases."""

    user_id: int
    user: str | None
    open_cases: int
    oldest_opened_at_us: int


class Player(msgspec.Struct, frozen=True, gc=False):
    """A user as operators see one."""

    user_id: int
    name: str
    score: int


class PlayerChangeRow(msgspec.Struct, frozen=True, gc=False):
    """An order of an operator that took effect."""

    id: bytes
    action: str
    user_id: int
    into_id: int | None
    name_before: str | None
    name: str | None
    score_before: int | None
    score: int | None
    seq: int
    actor: bytes
    reason: str
    committed_at_us: int


class LedgerReader:
    """Reads of the ledger and the board."""

    def __init__(self, address: MySqlAddress) -> None:
        self._pool = Pool(address, size=CONNECTIONS, session=READER)

    async def board(self) -> BoardRow:
        """The board as of now. Raises MYSQL_ERRORS, as do all methods here."""
        return board_from(_the_board(await self._rows(BOARD_QUERY, ())))

    async def check_able(self) -> None:
        """Raises MYSQL_ERRORS unless the server takes writes and has this program's schema."""
        async with self._pool.connection() as connection:
            boards, versions, [(read_only,)] = await query_all(
                connection, f"{BOARD_QUERY}; {VERSIONS_QUERY}; SELECT {READ_ONLY_EXPRESSION}"
            )
        _the_board(boards)
        if read_only:
            raise pymysql.err.OperationalError(READ_ONLY_SERVER, "the server is read-only")
        if fault := schema_fault(versions):
            raise pymysql.err.OperationalError(fault)

    async def clock(self) -> float:
        """The server's time."""
        [(now_s,)] = await self._rows(CLOCK_QUERY, ())
        return float(now_s)

    async def changes_after(self, seq: int, limit: int) -> list[Change]:
        """The next changes in order, at most `limit`; they start at `seq` + 1."""
        return changes_from(await self._rows(changes_query(seq, limit), ()))

    async def run_after(self, seq: int, limit: int) -> Run:
        """The changes after `seq`, at most `limit`, with the identity of the change there."""
        return run_after(seq, await self.changes_after(seq - 1, limit + 1), limit)

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

    async def cases(self, wanted: CaseFilter, limit: int, after: Place | None = None) -> list[Case]:
        """The next held submissions after a place, in the order of `cases_query`."""
        return [Case(*row) for row in await self._rows(*cases_query(wanted, limit, after))]

    async def place_of(self, submission_id: bytes) -> Place | None:
        """Where a case is; None when the submission was never held."""
        rows = await self._rows(PLACE_QUERY, (submission_id.hex(),))
        return Place(submission_id, *rows[0]) if rows else None

    async def holders(self, limit: int, offset: int = 0) -> list[Holder]:
        """The users with open cases after the first `offset`, most cases first."""
        return [Holder(*row) for row in await self._rows(HOLDERS_QUERY, (limit, offset))]

    async def case_end(self, submission_id: bytes) -> CaseEnd | None:
        """How a case ended; None while it is open, and for a submission that was never held."""
        rows = await self._rows(
            "SELECT r.decision, r.decided_by, l.outcome FROM reviews r JOIN ledger l"
            " USING (submission_id) WHERE r.submission_id = UNHEX(%s) AND r.decision IS NOT NULL",
            (submission_id.hex(),),
        )
        return CaseEnd(*rows[0]) if rows else None

    async def is_open(self, submission_id: bytes) -> bool:
        """Whether the submission is held and its case undecided."""
        return bool(
            await self._rows(
                "SELECT 1 FROM reviews WHERE submission_id = UNHEX(%s) AND decision IS NULL",
                (submission_id.hex(),),
            )
        )

    async def players(self, after: int, limit: int) -> list[Player]:
        """The next users by id, at most `limit`."""
        rows = await self._rows(
            "SELECT id, name, score FROM users WHERE id > %s ORDER BY id LIMIT %s", (after, limit)
        )
        return [Player(*row) for row in rows]

    async def player_changes(self, limit: int) -> list[PlayerChangeRow]:
        """The latest orders of operators, newest first."""
        columns = ", ".join(PlayerChangeRow.__struct_fields__)
        rows = await self._rows(
            f"SELECT {columns} FROM player_changes ORDER BY seq DESC LIMIT %s", (limit,)
        )
        return [PlayerChangeRow(*row) for row in rows]

    async def around(self, user_id: int, neighbours: int) -> tuple[int, list[RankedUser]]:
        """The board's seq, and the user with the users around, best first; empty without user."""
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            await cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            try:
                await cursor.execute("SELECT seq FROM boards WHERE id = %s", (BOARD_ID,))
                (board_seq,) = _the_board(await cursor.fetchall())
                await cursor.execute("SELECT score, seq FROM users WHERE id = %s", (user_id,))
                own = await cursor.fetchall()
                if not own:
                    return board_seq, []
                score, seq = own[0]
                await cursor.execute(BETTER_QUERY, (score, score, seq, seq, user_id, neighbours))
                before = list(await cursor.fetchall())[::-1]
                await cursor.execute(WORSE_QUERY, (score, score, seq, seq, user_id, neighbours + 1))
                rows = before + list(await cursor.fetchall())
                better: dict[int, int] = {}
                for row_score in {row[2] for row in rows}:
                    await cursor.execute(RANK_QUERY, (row_score,))
                    [(better[row_score],)] = await cursor.fetchall()
            finally:
                await connection.rollback()
        return board_seq, [RankedUser(row[0], row[1], row[2], better[row[2]]) for row in rows]

    async def existing(self, user_ids: Collection[int]) -> set[int]:
        """Those of the users that there are."""
        marks = ",".join(["%s"] * len(user_ids))
        rows = await self._rows(f"SELECT id FROM users WHERE id IN ({marks})", tuple(user_ids))
        return {row[0] for row in rows}

    async def is_empty(self) -> bool:
        """Whether no submission was ever decided."""
        return not await self._rows("SELECT 1 FROM ledger LIMIT 1", ())

    async def top(self, limit: int, offset: int) -> tuple[int, Sequence[Standing]]:
        """The board's seq and its places `offset` to `offset + limit`, of one moment."""
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            await cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            try:
                await cursor.execute("SELECT seq FROM boards WHERE id = %s", (BOARD_ID,))
                (seq,) = _the_board(await cursor.fetchall())
                await cursor.execute(TOP_QUERY, (limit, offset))
                rows = await cursor.fetchall()
            finally:
                await connection.rollback()
        return seq, [
            Standing(user=name, score=score, user_id=user_id) for user_id, name, score in rows
        ]

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def _rows(self, query: str, arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            await cursor.execute(query, arguments)
            return list(await cursor.fetchall())


def _the_board(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The one row of the board; it is not there yet while the tables are being made."""
    if not rows:
        raise pymysql.err.OperationalError("the board has no row yet")
    return rows[0]
