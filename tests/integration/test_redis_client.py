"""What the API process relies on from its Redis client, on a real Redis."""

import asyncio

from server.redis import connect


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
