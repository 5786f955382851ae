"""What server and worker rely on from their Redis clients, on a real Redis."""

import asyncio
from collections.abc import Callable

import pytest

from adapters.redis import MAX_CONNECTIONS, REDIS_ERRORS, Redis, connect, connect_readers
from scoreboard.addresses import mysql_address
from worker.runtime import connect_board
from worker.settings import WorkerSettings


def connect_worker(url: str) -> Redis:
    mysql = mysql_address("mysql://u@127.0.0.1:1/none")
    return connect_board(WorkerSettings(redis=url, mysql=mysql, temporal_address=""))


@pytest.mark.parametrize("connected", [connect, connect_worker])
async def test_cancelled_command_stays_cancelled(
    redis_url: str, connected: Callable[[str], Redis]
) -> None:
    """Otherwise a loop around the command runs for ever and blocks the shutdown."""
    client = connected(redis_url)
    swallowed = []

    async def command() -> None:
        await client.ping()

    try:
        await client.ping()
        for steps in range(1, 16):
            task = asyncio.create_task(command())
            for _ in range(steps):
                await asyncio.sleep(0)
            if task.cancel():
                await asyncio.wait([task])
                if not task.cancelled():
                    swallowed.append(steps)
        alive = await client.ping()
    finally:
        await client.aclose()

    assert swallowed == []
    assert alive


async def test_readers_wait_for_a_free_connection_pipelines_do_not(redis_url: str) -> None:
    pipeline, readers = connect(redis_url), connect_readers(redis_url)
    crowd = 2 * MAX_CONNECTIONS
    try:
        answers = await asyncio.gather(*(readers.ping() for _ in range(crowd)))
        # All end before the pool is closed; one that came after would leave its connection open.
        pings = (pipeline.ping() for _ in range(crowd))
        asked = await asyncio.gather(*pings, return_exceptions=True)
    finally:
        await pipeline.aclose()
        await readers.aclose()

    assert all(answers)
    assert any(isinstance(answer, REDIS_ERRORS) for answer in asked)
