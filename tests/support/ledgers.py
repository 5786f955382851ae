"""A migrated ledger of a test's own, and the checks that any history of it must pass."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from adapters.mysql import Pool, query_all
from scoreboard.addresses import mysql_address
from scoreboard.domain import Change, Outcome, Submission
from worker.database.ledger import Ledger, Recorded
from worker.database.migrate import migrate
from worker.database.seed import demo_user, seed
from worker.failpoints import Failpoints

USERS = 10


def submission(
    user_id: int = 1, increment: int = 10, *, name: bytes | None = None, principal: str = ""
) -> Submission:
    """A submission with an id of its own."""
    return Submission(
        id=name or secrets.token_bytes(16),
        principal=principal or str(user_id),
        user_id=user_id,
        increment=increment,
        received_us=1_764_000_000_000_000,
    )


class LedgerBench:
    """A ledger with `users` users (Alice, Bob, User00003 …) and its pool."""

    def __init__(self, mysql_url: str, pool: Pool, users: int, failpoints: str) -> None:
        self.mysql_url = mysql_url
        self.pool = pool
        self.users = users
        self.ledger = Ledger(pool, Failpoints(failpoints))

    async def record(self, *batch: Submission) -> Recorded:
        """Record a batch that nothing speaks against."""
        return await self.ledger.record([(item, Outcome.APPLIED) for item in batch])

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of one statement, in a transaction of its own."""
        async with self.pool.connection() as connection:
            [rows] = await query_all(connection, sql)
            await connection.commit()
        return rows

    async def log_syncs(self) -> int:
        """How often MySQL has synced its log so far."""
        # MySQL counts syncs of the log apart, MariaDB with all others.
        counts = await self.rows(
            "SHOW GLOBAL STATUS WHERE Variable_name IN"
            " ('Innodb_os_log_fsyncs', 'Innodb_data_fsyncs')"
        )
        return max(int(count) for _, count in counts)

    async def outcomes(self, batch: Sequence[Submission]) -> list[str]:
        """What the ledger says of each submission, in the order given."""
        stored = dict(await self.rows("SELECT submission_id, outcome FROM ledger"))
        return [stored[item.id] for item in batch]

    async def changes(self) -> list[Change]:
        """All changes, in order."""
        return await self.ledger.changes_after(0, 1_000_000)

    async def reconcile(self, *batches: Sequence[Submission]) -> int:
        """Assert that each submission has one row and that seq, totals and scores agree.

        Returns how many were applied.
        """
        rows = await self.rows(
            "SELECT submission_id, user_id, increment, outcome, seq, score_after"
            " FROM ledger ORDER BY seq IS NULL, seq"
        )
        assert sorted(row[0] for row in rows) == sorted({s.id for b in batches for s in b})
        applied = [row for row in rows if row[3] == Outcome.APPLIED]
        assert [row[4] for row in applied] == list(range(1, len(applied) + 1))
        totals = {n: demo_user(n).score for n in range(1, self.users + 1)}
        seqs = dict.fromkeys(totals, 0)
        for _, user_id, increment, _, seq, score_after in applied:
            totals[user_id] += increment
            seqs[user_id] = seq
            assert score_after == totals[user_id]
        stored = await self.rows("SELECT id, score, seq FROM users ORDER BY id")
        assert stored == [(n, totals[n], seqs[n]) for n in sorted(totals)]
        assert await self.rows("SELECT seq FROM boards") == [(len(applied),)]
        return len(applied)


@asynccontextmanager
async def opened_ledger(
    mysql_url: str, *, users: int = USERS, pool_size: int = 4, failpoints: str = ""
) -> AsyncIterator[LedgerBench]:
    """A ledger on this database, migrated and seeded; safe to open several times."""
    pool = Pool(mysql_address(mysql_url), size=pool_size)
    try:
        await migrate(pool)
        await seed(pool, users)
        yield LedgerBench(mysql_url, pool, users, failpoints)
    finally:
        await pool.close()
