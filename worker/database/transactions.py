"""One transaction at a time, repeated as a whole when MySQL breaks it off."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pymysql

from adapters.ledger_queries import BoardRow
from adapters.mysql import Pool
from scoreboard import backoff
from worker import metrics

T = TypeVar("T")

RETRYABLE_ERRORS = frozenset({1205, 1213})
"""Lock wait timeout and deadlock. After 1205 the transaction is still open with the
statement undone: committing it would store a ledger row without its score. So both
roll back and begin again."""


def commit_time_us(board: BoardRow) -> int:
    """The time of a commit under the board's lock, in µs since the Unix epoch.

    Never before that of the last change: a machine whose clock is behind, or was set back, would
    otherwise write a later change with an earlier time.
    """
    return max(time.time_ns() // 1000, board.committed_us)


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
