"""Waits for a condition, or for a quiet loop, instead of sleeping for a guess.

A check passes when it returns something other than False or None; an AssertionError inside it
counts as "not yet". At the deadline the last reason is raised, so a failure says what was missing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    check: Callable[[], Coroutine[Any, Any, T | None]],
    timeout_s: float = 10,
    interval_s: float = 0.05,
) -> T: ...
@overload
async def eventually(
    check: Callable[[], T | None], timeout_s: float = 10, interval_s: float = 0.05
) -> T: ...
async def eventually(
    check: Callable[[], Any], timeout_s: float = 10, interval_s: float = 0.05
) -> Any:
    """The first passing result of `check`, plain or async; AssertionError at the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        reason: AssertionError | None = None
        try:
            result = check()
            if isinstance(result, Awaitable):
                result = await result
            if result is not None and result is not False:
                return result
        except AssertionError as not_yet:
            reason = not_yet
        if time.monotonic() > deadline:
            raise AssertionError(_message(check, timeout_s, reason)) from reason
        await asyncio.sleep(interval_s)


def eventually_sync(
    check: Callable[[], T | None], timeout_s: float = 10, interval_s: float = 0.05
) -> T:
    """The same for code without an event loop."""
    deadline = time.monotonic() + timeout_s
    while True:
        reason: AssertionError | None = None
        try:
            result = check()
            if result is not None and result is not False:
                return result
        except AssertionError as not_yet:
            reason = not_yet
        if time.monotonic() > deadline:
            raise AssertionError(_message(check, timeout_s, reason)) from reason
        time.sleep(interval_s)


async def settled(turns_max: int = 10_000) -> None:
    """Return once the running asyncio loop only waits for time or for bytes.

    What could run has run then, however many turns it took; bytes that this process sent to itself
    before have arrived. AssertionError when the loop does not come to rest.
    """
    ready: Any = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    for _ in range(turns_max):
        await asyncio.sleep(0)
        if not ready:
            return
    raise AssertionError(f"the loop was still busy after {turns_max} turns")


def _message(check: object, timeout_s: float, reason: AssertionError | None) -> str:
    name = getattr(check, "__qualname__", repr(check))
    return f"{name} did not hold within {timeout_s} s" + (f": {reason}" if reason else "")
