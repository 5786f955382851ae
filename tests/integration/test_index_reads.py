"""Reads of MySQL that requests cause: each by an index, whatever the number of users."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from adapters.mysql import Pool, query_all
from scoreboard.addresses import mysql_address
from server.backends.case_queries import CaseFilter, cases_query
from server.backends.mysql import (
    BETTER_QUERY,
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
        cases_query(CaseFilter(), 200),
        cases_query(CaseFilter(open_only=False), 200),
    ],
)
async def test_no_request_scans_the_users(
    pool: Pool, query: str, arguments: tuple[Any, ...]
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


async def test_pages_of_cases_are_those_of_a_full_sort(pool: Pool, mysql_url: str) -> None:
    """Open cases and all, each page begun after the last case of the one before."""
    rows = [
        (
            number.to_bytes(16, "big"),
            number % 3 + 1,
            "large_increment" if number % 2 else "points_in_window unlike_history",
            1000 + number % 4,
            None if number % 5 < 3 else 2000 + number % 2,
        )
        for number in range(60)
    ]
    async with pool.connection() as connection:
        for key, user_id, reasons, opened, decided in rows:
            decision = "NULL" if decided is None else f"'rejected', {decided}"
            columns = "decision" if decided is None else "decision, decided_at_us"
            await query_all(
                connection,
                "INSERT INTO ledger (submission_id, principal, user_id, increment, outcome,"
                f" received_at_us, committed_at_us) VALUES (x'{key.hex()}', '1', {user_id}, 9,"
                f" 'held', 1, 1); INSERT INTO reviews (submission_id, reasons, opened_at_us,"
                f" {columns}) VALUES (x'{key.hex()}', '{reasons}', {opened}, {decision})",
            )
        await query_all(connection, "COMMIT")
    opened_first = sorted((row for row in rows if row[4] is None), key=lambda row: (row[3], row[0]))
    latest_first = sorted(rows, key=lambda row: (row[4] or 0, row[3], row[0]), reverse=True)
    reader = LedgerReader(mysql_address(mysql_url))

    async def paged(wanted: CaseFilter) -> list[bytes]:
        seen: list[bytes] = []
        while True:
            after = await reader.place_of(seen[-1]) if seen else None
            page = await reader.cases(wanted, 7, after)
            seen += [case.submission_id for case in page]
            if len(page) < 7:
                return seen

    try:
        assert await paged(CaseFilter()) == [row[0] for row in opened_first]
        assert await paged(CaseFilter(open_only=False)) == [row[0] for row in latest_first]
        assert await paged(CaseFilter(user_id=2, rule="unlike_history", opened_before_us=1002)) == [
            row[0] for row in opened_first if row[1] == 2 and "unlike" in row[2] and row[3] < 1002
        ]
        assert await reader.place_of(b"?" * 16) is None
        assert [(each.user_id, each.open_cases) for each in await reader.holders(2)] == [
            (user_id, sum(row[1] == user_id for row in opened_first)) for user_id in (1, 2)
        ]
        assert [each.user_id for each in await reader.holders(2, 1)] == [2, 3]
    finally:
        await reader.close()
