"""Ends tasks for certain."""

import asyncio
from collections.abc import Iterable

CANCEL_AGAIN_S = 0.2


async def end(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel tasks until all of them have ended; what they raise is theirs.

    Once is not enough: a connect that fails in the moment of the cancellation
    makes Python 3.11's `wait_for` forget the latter (cpython issue 86296), and
    a loop that heals by itself then goes on.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
