"""Reads of one thing that are asked for by many at once: one read, for all of them. Not a cache:
what has been read is forgotten with the read.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from adapters.tasks import end

K = TypeVar("K")
T = TypeVar("T")


class JoinedReads(Generic[K, T]):
    """The reads under way, by what they read."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reads: dict[K, tuple[float, asyncio.Task[T]]] = {}

    async def join(
        self, key: K, read: Callable[[], Coroutine[Any, Any, T]], *, within_s: float | None = None
    ) -> T:
        """What the read under way for `key` finds, or a new one; raises what it raises.

        With `within_s` a read that began longer ago is not joined.
        """
        now = self._clock()
        under_way = self._reads.get(key)
        if under_way is None or (within_s is not None and now - under_way[0] > within_s):
            under_way = self._reads[key] = (now, asyncio.create_task(read()))
            under_way[1].add_done_callback(lambda task: self._over(key, task))
        # A caller that is cancelled must not cancel the read for the others.
        return await asyncio.shield(under_way[1])

    def forget(self) -> None:
        """Join none of the reads under way any more; they end by themselves."""
        self._reads = {}

    async def close(self) -> None:
        """End the reads under way: nobody waits for them, and they would reopen connections."""
        await end([task for _, task in self._reads.values()])

    def _over(self, key: K, task: "asyncio.Task[T]") -> None:
        # A later read may have replaced this one.
        if key in self._reads and self._reads[key][1] is task:
            del self._reads[key]
