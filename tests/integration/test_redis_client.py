"""What the API process relies on from its Redis client, on a real Redis."""

import asyncio

import pytest

from server.backends.redis import MAX_CONNECTIONS, REDIS_ERRORS, connect, connect_readers


async def test_a_cancelled_command_stays_cancelled(redis_url: str) -> None:
    """Else a loop around it goes on for ever, and with it the shutdown."""
    client = connect(redis_url)
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


async def test_a_crowd_of_readers_waits_where_the_pipeline_would_be_refused(redis_url: str) -> None:
    pipeline, readers = connect(redis_url), connect_readers(redis_url)
    crowd = 2 * MAX_CONNECTIONS
    try:
        answers = await asyncio.gather(*(readers.ping() for _ in range(crowd)))
        with pytest.raises(REDIS_ERRORS):
            await asyncio.gather(*(pipeline.ping() for _ in range(crowd)))
    finally:
        await pipeline.aclose()
        await readers.aclose()

    assert all(answers)
