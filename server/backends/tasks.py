"""Ends tasks for certain."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

CANCEL_AGAIN_S = 0.2


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until all of them have ended; what they raise is theirs.

    Once is not enough: a connect that fails in the moment of the cancellation
    makes Python 3.11's `wait_for` forget the latter (cpython issue 86296), and
    a loop that heals by itself then goes on. A cancellation that comes meanwhile
    is raised once they have.
    """
    pending = set(tasks)
    cancelled: asyncio.CancelledError | None = None
    while pending:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
        except asyncio.CancelledError as error:
            cancelled = error
        pending = {task for task in pending if not task.done()}
    if cancelled is not None:
        raise cancelled


async def together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run parts that have no end of their own side by side, until cancelled.

    When one of them ends all do, and what it raised is raised. Not a TaskGroup, which
    cancels what is in it once.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        await end(tasks)
