"""The MySQL pool on a real server."""

import asyncio

import pytest

from adapters.mysql import CLOSE_TIMEOUT_S, MYSQL_ERRORS, READER, WRITER, Pool, Session
from scoreboard.settings import mysql_address


@pytest.mark.parametrize("session", [READER, WRITER])
async def test_close_returns_while_a_connection_is_in_use_and_breaks_it(
    mysql_url: str, session: Session
) -> None:
    pool = Pool(mysql_address(mysql_url), size=1, session=session)
    opened, closed = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with pool.connection() as connection, connection.cursor() as cursor:
            opened.set()
            await closed.wait()
            await cursor.execute("SELECT 1")

    working = asyncio.create_task(work())
    await opened.wait()
    async with asyncio.timeout(CLOSE_TIMEOUT_S + 3):
        await pool.close()
    closed.set()

    with pytest.raises(MYSQL_ERRORS):
        await working
