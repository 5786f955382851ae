"""Cost per submission as users and ledger grow.

The cost is CPU of all parts (API, MySQL, Redis, Temporal) for one submission,
each for a user drawn at random from all there are, and what they write to disks for it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import redis.asyncio

from benchmarks.peers.backends import (
    Backends,
    empty_redis,
    fresh_surroundings,
    mysql_connection,
    query,
)
from benchmarks.peers.measures import submissions
from benchmarks.peers.programs import NO_LIMIT, Running, peer, seed_ours
from scoreboard import contract

BOARD_TIMEOUT_S = 300.0
_ROWS_PER_INSERT = 1_000_000
_DIGITS = " UNION ALL ".join(f"SELECT {n}{' AS d' if n == 0 else ''}" for n in range(10))
_FROM_DIGITS = ", ".join(f"({_DIGITS}) AS t{power}" for power in range(6))
_NUMBER = " + ".join(f"t{power}.d * {10**power}" for power in reversed(range(6)))


@dataclass(frozen=True, kw_only=True)
class Size:
    """A system as it may be after a while."""

    users: int
    ledger_rows: int = 0

    def __str__(self) -> str:
        rows = f", {self.ledger_rows:,} rows" if self.ledger_rows else ""
        return f"{self.users:,} users{rows}"


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One round at one size: CPU µs per submission, of all parts and of each, and bytes written."""

    total_us: float
    written: float | None
    by_part_us: dict[str, float]
    rate: float


@asynccontextmanager
async def filled(
    size: Size, backends: Backends, redis_database: int
) -> AsyncIterator[Mapping[str, str]]:
    """Surroundings of ours with as many users and old ledger rows."""
    async with fresh_surroundings(backends, redis_database) as environment:
        await seed_ours(environment, 2, backends.folder)
        async with mysql_connection(environment["SCOREBOARD_MYSQL_URL"]) as connection:
            await query(connection, "SET SESSION unique_checks = 0")
            await query(
                connection,
                "INSERT INTO users (id, name, score) SELECT n, CONCAT('User', LPAD(n, 5, '0')), 0"
                f" FROM (SELECT {_NUMBER} + 1 AS n FROM {_FROM_DIGITS} HAVING n > 2"
                f" AND n <= {size.users}) AS numbers ORDER BY n",
            )
            for first in range(0, size.ledger_rows, _ROWS_PER_INSERT):
                await _old_rows(connection, first, min(_ROWS_PER_INSERT, size.ledger_rows - first))
            if size.ledger_rows:
                await query(connection, f"UPDATE boards SET seq = {size.ledger_rows} WHERE id = 1")
        # Or the API would catch up with years of changes, instead of building its board.
        await empty_redis(environment["SCOREBOARD_REDIS_URL"])
        yield environment


async def _old_rows(connection: Any, first: int, count: int) -> None:
    """Ledger rows `first` + 1 and on, with ids spread evenly, as those of keys are.

    So a keyed submission's row falls among them, anywhere in the index.
    """
    numbers = f"SELECT {_NUMBER} + {first + 1} AS n FROM {_FROM_DIGITS} HAVING n <= {first + count}"
    await query(
        connection,
        "INSERT INTO ledger (submission_id, principal, user_id, increment, outcome, seq,"
        " score_after, received_at_us, committed_at_us)"
        " SELECT UNHEX(MD5(n)) AS id, '3', 3 + n % 900, 1, 'applied', n, n, 0, 0"
        # In order of the primary key: a row at a time anywhere in it takes much longer.
        f" FROM ({numbers}) AS numbers ORDER BY id",
    )


@asynccontextmanager
async def running_sizes(
    sizes: Sequence[Size], backends: Backends
) -> AsyncIterator[dict[Size, Running]]:
    """One of ours for each size, each with a Redis database of its own."""
    async with AsyncExitStack() as opened:
        found = {}
        for number, size in enumerate(sizes):
            prepared = await opened.enter_async_context(filled(size, backends, number))
            found[size] = await opened.enter_async_context(
                peer("ours", backends, prepared={**prepared, **NO_LIMIT})
            )
            await _board_stands(found[size])
        yield found


async def _board_stands(running: Running) -> None:
    """Return once Redis ranks all users. Until then every batch waits for that, and what
    a system has to build once would be counted as the cost of its submissions."""
    url = running.environment["SCOREBOARD_REDIS_URL"]
    async with (
        asyncio.timeout(BOARD_TIMEOUT_S),
        aclosing(redis.asyncio.Redis.from_url(url)) as client,
    ):
        while True:
            if await client.exists(contract.RANKING_KEY):
                return
            await asyncio.sleep(0.2)


async def measure(
    running: Running,
    backends: Backends,
    size: Size,
    *,
    duration_s: float,
    seed: int,
    keyed: bool = False,
) -> Cost:
    """One round at one size. Raises WrongAnswer."""
    found = await submissions.submit(
        running,
        backends,
        duration_s=duration_s,
        warm_up_s=1.0,
        drawn_from=size.users,
        seed=seed,
        keyed=keyed,
    )
    parts = {name: cost for name, cost in found.cpu_us.items() if name != "generator"}
    return Cost(
        total_us=sum(parts.values()), written=found.written, by_part_us=parts, rate=found.rate
    )
