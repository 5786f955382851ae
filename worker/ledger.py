"""The ledger in MySQL: records batches and reads changes back. Not what decides: `rules`.

Every public operation is one transaction or a plain read; each may be repeated
after any failure, since the ledger's primary key makes the effect happen once.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import pymysql
import structlog

from adapters.ledger_queries import BOARD_ID, BOARD_QUERY, BoardRow, changes_from, changes_query
from adapters.mysql import Pool, query_all
from scoreboard import backoff
from scoreboard.domain import Change, LedgerRow, Outcome, Submission, User
from scoreboard.fraud import Activity, FraudRules, decode_recent, encode_recent
from scoreboard.ids import text
from scoreboard.rules import Settlement, settle
from worker import metrics
from worker.failpoints import Failpoints

log = structlog.get_logger()

T = TypeVar("T")

RETRYABLE_ERRORS = frozenset({1205, 1213})
"""Lock wait timeout and deadlock. After 1205 the transaction is still open with the
statement undone: committing it would store a ledger row without its score. So both
roll back and begin again."""

USER_COLUMNS = "id, name, score, seq, window_start_s, window_points, recent_increments"
_USER_TEXT = (
    "GROUP_CONCAT(id, ',', score, ',', seq, ',', window_start_s, ',', window_points, ',',"
    " HEX(recent_increments), ',', HEX(name) SEPARATOR ';')"
)
_UPDATED_COLUMNS = ("score", "seq", "window_start_s", "window_points", "recent_increments")

COMMIT_SYNCED = "UPDATE log_syncs SET number = number + 1 WHERE id = 1; COMMIT"
"""Ends a transaction that has only read; then all it has read would survive a crash of MySQL.

InnoDB shows a commit to others before the log is synced (MySQL bug 74303). This commit comes
later in the log, and its sync covers everything before it. On the reader's own connection, since
another one might reach a server that has crashed and started again in between.
"""

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
                connection, f"SELECT id FROM users WHERE id IN ({_numbers(wanted)})"
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
        user_ids = _numbers(sorted({submission.user_id for submission, _ in screened}))
        # The board first, then users in id order: all writers lock in this order.
        # The ledger is read after the board's lock, so every earlier batch is visible.
        _, board_rows, user_rows, decided_rows = await query_all(
            connection,
            "START TRANSACTION;"
            f" SELECT seq FROM boards WHERE id = {BOARD_ID} FOR UPDATE;"
            # One text for all: the driver spends a microsecond on each field of each row.
            f" SELECT {_USER_TEXT} FROM users WHERE id IN ({user_ids}) FOR UPDATE;"
            f" SELECT submission_id, seq, outcome FROM ledger WHERE submission_id IN ({ids})",
        )
        users = _users_of(user_rows[0][0])
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
            await query_all(connection, f"{_writes(settlement, committed_us)};COMMIT")
        else:
            # An earlier attempt did it, and may not have heard yet that its commit lasts.
            await query_all(connection, COMMIT_SYNCED)
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
            rows, *_ = await query_all(connection, _synced(BOARD_QUERY, durable))
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
            rows, *_ = await query_all(connection, _synced(query, durable))
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
            await query_all(connection, f"COMMIT; {COMMIT_SYNCED}")


def _synced(query: str, durable: bool) -> str:
    return f"{query}; {COMMIT_SYNCED}" if durable else query


def _numbers(values: Iterable[int]) -> str:
    return ",".join(str(int(value)) for value in values)


def user_from(row: tuple[Any, ...]) -> User:
    """A user from a row of USER_COLUMNS."""
    user_id, name, score, seq, window_start_s, window_points, recent = row
    activity = Activity(
        window_start_s=window_start_s, window_points=window_points, recent=decode_recent(recent)
    )
    return User(id=user_id, name=name, score=score, seq=seq, activity=activity)


def _users_of(text: str | None) -> dict[int, User]:
    """Users by id, from what _USER_TEXT selects."""
    users = {}
    for line in text.split(";") if text else ():
        user_id, score, seq, window_start_s, window_points, recent, name = line.split(",")
        activity = Activity(
            window_start_s=int(window_start_s),
            window_points=int(window_points),
            recent=decode_recent(bytes.fromhex(recent)),
        )
        users[int(user_id)] = User(
            id=int(user_id),
            name=bytes.fromhex(name).decode(),
            score=int(score),
            seq=int(seq),
            activity=activity,
        )
    return users


def users_statement(users: Iterable[User]) -> str:
    """Stores the totals of users whose rows this transaction has locked.

    An upsert: the one form of a multi-row update that both MySQL and MariaDB run
    in linear time. The rows exist, so their names stay as they are.
    """
    values = ",".join(
        f"({user.id},'',{user.score},{user.seq},{user.activity.window_start_s},"
        f"{user.activity.window_points},x'{encode_recent(user.activity.recent).hex()}')"
        for user in users
    )
    updates = ", ".join(f"{column} = VALUES({column})" for column in _UPDATED_COLUMNS)
    return f"INSERT INTO users ({USER_COLUMNS}) VALUES {values} ON DUPLICATE KEY UPDATE {updates}"


async def in_transaction(pool: Pool, work: Callable[[Any], Awaitable[T]]) -> T:
    """Run `work` on a connection; again as a whole after a deadlock or lock timeout.

    `work` begins and commits its own transaction and must be safe to repeat.
    """
    failures = 0
    while True:
        try:
            async with pool.connection() as connection:
                return await work(connection)
        except pymysql.err.OperationalError as error:
            if (
                error.args[0] not in RETRYABLE_ERRORS
                or failures + 1 == backoff.TRANSACTION.attempts_max
            ):
                raise
        metrics.TRANSACTION_RETRIES.inc()
        # The connection was closed, which rolls back; others get ahead meanwhile.
        await asyncio.sleep(backoff.TRANSACTION.jittered_s(failures, random.random()))
        failures += 1


def _writes(settlement: Settlement, committed_us: int) -> str:
    """The statements of a settlement. Numbers and hexadecimal only: nothing to escape."""
    rows = ",".join(_ledger_values(row, committed_us) for row in settlement.rows)
    statements = [
        "INSERT INTO ledger (submission_id, principal, user_id, increment, outcome, seq,"
        f" score_after, received_at_us, committed_at_us) VALUES {rows}"
    ]
    held = ",".join(
        f"(x'{row.submission.id.hex()}','{' '.join(row.reasons)}',{committed_us})"
        for row in settlement.rows
        if row.outcome is Outcome.HELD
    )
    if held:
        statements.append(
            f"INSERT INTO reviews (submission_id, reasons, opened_at_us) VALUES {held}"
        )
    if settlement.users:
        statements += [
            users_statement(settlement.users),
            f"UPDATE boards SET seq = {settlement.last_seq} WHERE id = {BOARD_ID}",
        ]
    return ";".join(statements)


def _ledger_values(row: LedgerRow, committed_us: int) -> str:
    submission = row.submission
    seq = "NULL" if row.seq is None else row.seq
    score_after = "NULL" if row.score_after is None else row.score_after
    return (
        f"(x'{submission.id.hex()}',x'{submission.principal.encode().hex()}',"
        f"{submission.user_id},{submission.increment},'{row.outcome.value}',"
        f"{seq},{score_after},{submission.received_us},{committed_us})"
    )


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
