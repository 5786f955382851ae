"""The ledger in MySQL: records batches and reads changes back. Not what decides: `rules`;
nor the SQL text: `statements`.

Every public operation is one transaction or a plain read; each may be repeated
after any failure, since the ledger's primary key makes the effect happen once.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import structlog

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
from adapters.mysql import Pool, query_all
from scoreboard.contract import next_start
from scoreboard.domain import Change, LedgerRow, Outcome, Submission, User
from scoreboard.fraud import FraudRules
from scoreboard.ids import text
from scoreboard.rules import settle
from worker import metrics
from worker.database import statements
from worker.database.transactions import commit_time_us, in_transaction
from worker.failpoints import Failpoints

log = structlog.get_logger()

USERS_PER_READ = 2000
_USERS = "SELECT id, name, score, seq FROM users"


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What recording a batch left behind.

    `changes` are those of this call, and `before` is the identity of the change that the first of
    them follows. `last_seq` is the highest number among all
    changes of the batch, and `held` the ids held for review, also those that an
    earlier attempt committed; 0 and empty if none.
    """

    changes: list[Change]
    last_seq: int
    held: list[bytes]
    before: str = ""

    @property
    def run(self) -> Run:
        """The changes of this call after what they follow."""
        return Run(self.before, self.changes)


class Ledger:
    """MySQL as the worker sees it."""

    def __init__(
        self,
        pool: Pool,
        failpoints: Failpoints,
        fraud: FraudRules | None = None,
        *,
        log_decisions: bool = False,
    ) -> None:
        self._log_decisions = log_decisions
        self._pool = pool
        self._failpoints = failpoints
        self._fraud = fraud if fraud is not None and fraud.active else None

    async def known_users(self, user_ids: Iterable[int]) -> set[int]:
        """Which of the ids are users."""
        wanted = sorted(set(user_ids))
        if not wanted:
            return set()
        async with self._pool.connection() as connection:
            [rows] = await query_all(
                connection, f"SELECT id FROM users WHERE id IN ({statements.numbers(wanted)})"
            )
            await connection.rollback()
        return {row[0] for row in rows}

    async def check_writable(self) -> None:
        """One durable write. Raises MYSQL_ERRORS."""
        async with self._pool.connection() as connection:
            await query_all(connection, statements.COMMIT_SYNCED)

    async def clock(self) -> float:
        """The server's time. Raises MYSQL_ERRORS."""
        async with self._pool.connection() as connection:
            [[(now_s,)]] = await query_all(connection, CLOCK_QUERY)
            await connection.rollback()
        return float(now_s)

    async def decided_ids(self, submission_ids: Sequence[bytes]) -> set[bytes]:
        """Which of these the ledger has."""
        wanted = ",".join(f"x'{submission_id.hex()}'" for submission_id in submission_ids)
        async with self._pool.connection() as connection:
            [rows] = await query_all(
                connection, f"SELECT submission_id FROM ledger WHERE submission_id IN ({wanted})"
            )
            await connection.rollback()
        return {row[0] for row in rows}

    async def record(self, screened: Sequence[tuple[Submission, Outcome]]) -> Recorded:
        """Decide and store a batch in one transaction.

        Safe to repeat by submission id. Raises the driver's errors when MySQL is
        away, and after `backoff.TRANSACTION.attempts_max` deadlocks or lock timeouts.
        """
        return await in_transaction(
            self._pool, lambda connection: self._record(connection, screened)
        )

    async def _record(
        self, connection: Any, screened: Sequence[tuple[Submission, Outcome]]
    ) -> Recorded:
        ids = ",".join(f"x'{submission.id.hex()}'" for submission, _ in screened)
        user_ids = statements.numbers(sorted({submission.user_id for submission, _ in screened}))
        # The board first, then users in id order: all writers lock in this order.
        # The ledger is read after the board's lock, so every earlier batch is visible.
        _, board_rows, user_rows, decided_rows = await query_all(
            connection,
            "START TRANSACTION;"
            f" {BOARD_QUERY} FOR UPDATE;"
            f" SELECT {statements.USERS_AS_TEXT} FROM users WHERE id IN ({user_ids}) FOR UPDATE;"
            f" SELECT submission_id, seq, outcome FROM ledger WHERE submission_id IN ({ids})",
        )
        board = board_from(board_rows[0])
        users = statements.users_from_text(user_rows[0][0])
        decide = partial(
            settle,
            screened,
            users=users,
            decided={row[0] for row in decided_rows},
            seq=board.seq,
            fraud=self._fraud,
        )
        settlement = decide()
        if suspects := _suspects(settlement.rows):
            # Rare, so only now: which of them have as many open cases as may wait.
            settlement = decide(open_cases=await _open_cases(connection, suspects))
        committed_us = commit_time_us(board)
        await self._failpoints.hit("record.before_commit")
        if settlement.rows:
            # In one round trip: all other batches wait for the board's lock, and each answer
            # waits for a turn of an event loop that is busy with requests.
            await query_all(
                connection, f"{statements.settlement_writes(settlement, committed_us)};COMMIT"
            )
        else:
            # An earlier attempt did it, and may not have heard yet that its commit lasts.
            await query_all(connection, statements.COMMIT_SYNCED)
        metrics.count_recorded(settlement.rows)
        if self._log_decisions:
            for row in settlement.rows:
                log.info(
                    "submission_decided",
                    submission_id=text(row.submission.id),
                    outcome=row.outcome.value,
                    seq=row.seq,
                )
        await self._failpoints.hit("record.after_commit")
        changes = _changes(settlement.rows, users, committed_us)
        seqs = [row[1] for row in decided_rows if row[1] is not None]
        held = [row[0] for row in decided_rows if row[2] == Outcome.HELD]
        return Recorded(
            changes=changes,
            last_seq=max(seqs + [change.seq for change in changes], default=0),
            held=held
            + [row.submission.id for row in settlement.rows if row.outcome is Outcome.HELD],
            before=board.tip,
        )

    async def board(self, *, durable: bool = False) -> BoardRow:
        """The board's last committed change and its history.

        With `durable` a crash of MySQL cannot take back what is returned; costs a sync
        of its log.
        """
        async with self._pool.connection() as connection:
            rows, *_ = await query_all(connection, statements.synced(BOARD_QUERY, durable))
            await connection.rollback()
        return board_from(rows[0])

    async def users_count(self) -> tuple[int, int]:
        """The board's seq and how many users there are then; reads an index of all of them."""
        async with self._pool.connection() as connection:
            [[(seq, count)]] = await query_all(
                connection,
                f"SELECT (SELECT seq FROM boards WHERE id = {BOARD_ID}), COUNT(*) FROM users",
            )
            await connection.rollback()
        return int(seq), int(count)

    async def begin_history(
        self, highest: int, continues: Callable[[BoardRow, Run], bool]
    ) -> tuple[BoardRow, bool]:
        """Begin another history, above `highest`, unless the ledger `continues` what was shown.

        Decided under the board's lock, since any other read may be an old one: no replica
        can give the lock, and who waits for it reads what was committed before. `continues` is
        given the board and the changes after `highest`. Returns the board as it is now, and
        whether its history has begun here.
        """
        return await in_transaction(
            self._pool, lambda connection: self._begin_history(connection, highest, continues)
        )

    async def _begin_history(
        self, connection: Any, highest: int, continues: Callable[[BoardRow, Run], bool]
    ) -> tuple[BoardRow, bool]:
        _, board_rows, rows, last_rows = await query_all(
            connection,
            f"START TRANSACTION; {BOARD_QUERY} FOR UPDATE; {changes_query(highest - 1, 1)};"
            " SELECT COALESCE(MAX(seq), 0) FROM ledger",
        )
        board = board_from(board_rows[0])
        if continues(board, run_after(highest, changes_from(rows), 0)):
            await connection.rollback()
            return board, False
        start = next_start(max(board.seq, highest, last_rows[0][0]))
        await query_all(
            connection,
            f"UPDATE boards SET incarnation = UUID(), seq = {start}, starts_after = {start}"
            f" WHERE id = {BOARD_ID}; COMMIT",
        )
        return await self.board(), True

    async def changes_after(self, seq: int, limit: int, *, durable: bool = False) -> list[Change]:
        """The next changes in order, at most `limit`; they start at `seq` + 1.

        `durable` as for `board`.
        """
        query = changes_query(seq, limit)
        async with self._pool.connection() as connection:
            rows, *_ = await query_all(connection, statements.synced(query, durable))
            await connection.rollback()
        return changes_from(rows)

    async def run_after(self, seq: int, limit: int, *, durable: bool = False) -> Run:
        """The changes after `seq`, at most `limit`, with the identity of the change there."""
        found = await self.changes_after(seq - 1, limit + 1, durable=durable)
        return run_after(seq, found, limit)

    async def users(self, ids: Iterable[int], after: int, limit: int) -> tuple[list[User], int]:
        """The users of these ids, and the next ones by id after `after`, at most `limit`.

        And after which id to go on, so that all are read by turns.
        """
        async with self._pool.connection() as connection:
            found = await query_all(
                connection,
                f"{_USERS} WHERE id IN ({statements.numbers(ids) or 'NULL'});"
                f"{_USERS} WHERE id > {after} ORDER BY id LIMIT {limit}",
            )
            await connection.rollback()
        upto = found[1][-1][0] if len(found[1]) == limit else -1
        return [_user(row) for rows in found for row in rows], upto

    async def existing(self, ids: Iterable[int]) -> set[int]:
        """Those of the ids that are of a user now."""
        async with self._pool.connection() as connection:
            [rows] = await query_all(
                connection,
                f"SELECT id FROM users WHERE id IN ({statements.numbers(ids) or 'NULL'})",
            )
            await connection.rollback()
        return {row[0] for row in rows}

    async def snapshot(self) -> AsyncGenerator[tuple[BoardRow, list[User]], None]:
        """All users at one moment, in chunks; each chunk comes with that moment's board.

        Once it has ended by itself, a crash of MySQL cannot take back what it gave.
        An async generator. Close it (`aclosing`) to give its connection back, and limit
        its time around the loop: a limit in here would cancel whatever the loop awaits.
        A board without users yields one empty chunk.
        """
        async with self._pool.connection(timeout_s=None) as connection:
            _, _, board_rows = await query_all(
                connection,
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;"
                f" START TRANSACTION WITH CONSISTENT SNAPSHOT; {BOARD_QUERY}",
            )
            board = board_from(board_rows[0])
            after = -1
            while True:
                [rows] = await query_all(
                    connection,
                    f"{_USERS} WHERE id > {after} ORDER BY id LIMIT {USERS_PER_READ}",
                )
                yield board, [_user(row) for row in rows]
                if len(rows) < USERS_PER_READ:
                    break
                after = rows[-1][0]
            await query_all(connection, f"COMMIT; {statements.COMMIT_SYNCED}")


def _suspects(rows: Iterable[LedgerRow]) -> set[int]:
    """Whose suspicious submissions these rows have."""
    return {
        row.submission.user_id
        for row in rows
        if row.outcome in (Outcome.HELD, Outcome.TOO_MANY_CASES)
    }


async def _open_cases(connection: Any, user_ids: Iterable[int]) -> dict[int, int]:
    """How many cases of each user wait; under the board's lock, as every case begins and ends."""
    [rows] = await query_all(
        connection,
        "SELECT user_id, COUNT(*) FROM reviews WHERE decision IS NULL"
        f" AND user_id IN ({statements.numbers(sorted(user_ids))}) GROUP BY user_id",
    )
    return dict(rows)


def _user(row: tuple[Any, ...]) -> User:
    return User(id=row[0], name=row[1], score=row[2], seq=row[3])


def _changes(
    rows: Iterable[LedgerRow], users: Mapping[int, User], committed_us: int
) -> list[Change]:
    return [
        Change(
            seq=row.seq,
            user_id=row.submission.user_id,
            name=users[row.submission.user_id].name,
            score=row.score_after,
            committed_us=committed_us,
        )
        for row in rows
        if row.seq is not None and row.score_after is not None
    ]
