"""Reads of MySQL that requests cause: each by an index, whatever the number of users."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from adapters.mysql import Pool, query_all
from scoreboard.addresses import mysql_address
from server.backends.mysql import (
    BETTER_QUERY,
    CASES_QUERY,
    RANK_QUERY,
    TOP_QUERY,
    WORSE_QUERY,
    LedgerReader,
)
from worker.database.seed import seed

USERS = 3000


@pytest_asyncio.fixture
async def pool(mysql_url: str) -> AsyncIterator[Pool]:
    """Nearly all users have the same score, as before a season begins."""
    opened = Pool(mysql_address(mysql_url), size=1)
    await seed(opened, USERS)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        (TOP_QUERY, (10, 0)),
        (TOP_QUERY, (100, 2000)),
        (BETTER_QUERY, (0, 0, 0, 0, 1500, 5)),
        (WORSE_QUERY, (0, 0, 0, 0, 1500, 6)),
        (RANK_QUERY, (1400,)),
        (CASES_QUERY.format("WHERE r.decision IS NULL", "r.opened_at_us"), (200,)),
        (CASES_QUERY.format("", "r.decided_at_us DESC, r.opened_at_us DESC"), (200,)),
    ],
)
async def test_no_request_scans_the_users(
    pool: Pool, query: str, arguments: tuple[int, ...]
) -> None:
    async with pool.connection() as connection, connection.cursor() as cursor:
        await cursor.execute(query, arguments)
        await query_all(connection, "FLUSH STATUS")
        await cursor.execute(query, arguments)
        rows = await cursor.fetchall()
        await cursor.execute(
            "SHOW SESSION STATUS WHERE Variable_name IN ('Handler_read_rnd_next',"
            " 'Handler_read_next', 'Handler_read_prev', 'Sort_scan')"
        )
        counts = {name: int(count) for name, count in await cursor.fetchall()}

    offset = arguments[1] if query == TOP_QUERY else 0
    # A page is kept in a temporary table, which is read and sorted as a whole.
    assert counts["Handler_read_rnd_next"] <= 3 * (len(rows) + 1)
    assert counts["Handler_read_next"] + counts["Handler_read_prev"] <= offset + 2 * len(rows) + 5


async def test_pages_and_neighbours_are_those_of_a_full_sort(pool: Pool, mysql_url: str) -> None:
    async with pool.connection() as connection:
        await query_all(
            connection,
            "UPDATE users SET score = id % 7, seq = (id * 37) % 1000 WHERE id > 1000; COMMIT",
        )
        [rows] = await query_all(connection, "SELECT id, name, score, seq FROM users")
    order = sorted(rows, key=lambda row: (-row[2], row[3], row[0]))
    reader = LedgerReader(mysql_address(mysql_url))
    try:
        for offset in (0, 50, 1234, USERS - 5, USERS):
            _, places = await reader.top(10, offset)
            assert [place.user for place in places] == [
                row[1] for row in order[offset : offset + 10]
            ]
        for place in (0, 1, 700, 1999, USERS - 1):
            _, around = await reader.around(order[place][0], 3)
            assert [user.user_id for user in around] == [
                row[0] for row in order[max(0, place - 3) : place + 4]
            ]
    finally:
        await reader.close()
