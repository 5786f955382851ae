"""Cancel tasks and wait until they have really finished."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

CANCEL_AGAIN_S = 0.2


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until all of them have ended; what they raise is not raised here.

    One cancellation is not enough: Python 3.11's `wait_for`, which redis-py and
    aiomysql use, loses a cancellation that arrives as its work completes (cpython
    issue 86296), and a loop that recovers by itself then runs for ever. If the
    caller is cancelled meanwhile, CancelledError is raised after the tasks have ended.
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
    """Run endless coroutines side by side until cancelled.

    When one ends, all are ended, and its exception is raised. Not a TaskGroup, which
    cancels its tasks only once.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        await end(tasks)
