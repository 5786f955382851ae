"""The ledger in MySQL: records batches and reads changes back. Not what decides: `rules`;
nor the SQL text: `statements`.

Every public operation is one transaction or a plain read; each may be repeated
after any failure, since the ledger's primary key makes the effect happen once.
"""

import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from adapters.ledger_queries import BOARD_ID, BOARD_QUERY, BoardRow, changes_from, changes_query
from adapters.mysql import Pool, query_all
from scoreboard.domain import Change, LedgerRow, Outcome, Submission, User
from scoreboard.fraud import FraudRules
from scoreboard.ids import text
from scoreboard.rules import settle
from worker import metrics
from worker.database import statements
from worker.database.transactions import in_transaction
from worker.failpoints import Failpoints

log = structlog.get_logger()

USERS_PER_READ = 2000


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What recording a batch left behind.

    `changes` are those of this call. `last_seq` is the highest number among all
    changes of the batch, and `held` the ids held for review, also those that an
    earlier attempt committed; 0 and empty if none.
    """

    changes: list[Change]
    last_seq: int
    held: list[bytes]


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
            f" SELECT seq FROM boards WHERE id = {BOARD_ID} FOR UPDATE;"
            f" SELECT {statements.USERS_AS_TEXT} FROM users WHERE id IN ({user_ids}) FOR UPDATE;"
            f" SELECT submission_id, seq, outcome FROM ledger WHERE submission_id IN ({ids})",
        )
        users = statements.users_from_text(user_rows[0][0])
        settlement = settle(
            screened,
            users=users,
            decided={row[0] for row in decided_rows},
            seq=board_rows[0][0],
            fraud=self._fraud,
        )
        committed_us = time.time_ns() // 1000
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
        )

    async def board(self, *, durable: bool = False) -> BoardRow:
        """The board's last committed sequence number and its incarnation.

        With `durable` a crash of MySQL cannot take back what is returned; costs a sync
        of its log.
        """
        async with self._pool.connection() as connection:
            rows, *_ = await query_all(connection, statements.synced(BOARD_QUERY, durable))
            await connection.rollback()
        return BoardRow(*rows[0])

    async def users_count(self) -> int:
        """How many users there are; reads an index of all of them."""
        async with self._pool.connection() as connection:
            [rows] = await query_all(connection, "SELECT COUNT(*) FROM users")
            await connection.rollback()
        return int(rows[0][0])

    async def begin_incarnation(self, seen: BoardRow) -> BoardRow:
        """Give the board's history a new name, unless someone has since `seen`; the board now."""
        async with self._pool.connection() as connection:
            await query_all(
                connection,
                f"UPDATE boards SET incarnation = UUID() WHERE id = {BOARD_ID}"
                f" AND incarnation = '{seen.incarnation}'",
            )
            await connection.commit()
        return await self.board()

    async def changes_after(self, seq: int, limit: int, *, durable: bool = False) -> list[Change]:
        """The next changes in order, at most `limit`; they start at `seq` + 1.

        `durable` as for `board`.
        """
        query = changes_query(seq, limit)
        async with self._pool.connection() as connection:
            rows, *_ = await query_all(connection, statements.synced(query, durable))
            await connection.rollback()
        return changes_from(rows)

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
            board = BoardRow(*board_rows[0])
            after = -1
            while True:
                [rows] = await query_all(
                    connection,
                    f"SELECT id, name, score, seq FROM users WHERE id > {after}"
                    f" ORDER BY id LIMIT {USERS_PER_READ}",
                )
                yield board, [User(id=r[0], name=r[1], score=r[2], seq=r[3]) for r in rows]
                if len(rows) < USERS_PER_READ:
                    break
                after = rows[-1][0]
            await query_all(connection, f"COMMIT; {statements.COMMIT_SYNCED}")


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
