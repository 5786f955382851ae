"""Ends tasks for certain."""

import asyncio
from collections.abc import Iterable

CANCEL_AGAIN_S = 0.2


async def end(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel tasks until all of them have ended; what they raise is theirs.

    Once is not enough: redis-py sends, and aiomysql connects, inside `wait_for`, and
    Python 3.11's forgets a cancellation that comes as its work is done (cpython issue
    86296). A loop that heals by itself then goes on for ever.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
