"""Which users there are, for those that Redis does not show: one question to MySQL for all who ask
within a moment, so that nobody makes the database work by asking for users who do not exist.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection

from adapters.tasks import end

GATHER_S = 0.05
"""At most one question in this time."""

IDS_MAX = 1000
"""Users in one question; the others wait for the next."""


class Existence:
    """Answers for users one by one, asks for them together."""

    def __init__(self, existing: Callable[[Collection[int]], Awaitable[set[int]]]) -> None:
        self._existing = existing
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def known(self, user_id: int) -> bool:
        """Whether there is such a user, now. Raises MYSQL_ERRORS."""
        answer = self._waiting.get(user_id)
        if answer is None:
            answer = asyncio.get_running_loop().create_future()
            # Nobody may be left to hear of an error.
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._waiting[user_id] = answer
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        # A caller that is cancelled must not cancel the answer for the others.
        return await asyncio.shield(answer)

    async def close(self) -> None:
        """End the question under way."""
        if self._asking is not None:
            await end([self._asking])
        for answer in self._waiting.values():
            answer.cancel()

    async def _ask(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            asked = {user: self._waiting.pop(user) for user in list(self._waiting)[:IDS_MAX]}
            try:
                found = await self._existing(asked)
            except BaseException as error:
                for answer in asked.values():
                    if isinstance(error, Exception):
                        answer.set_exception(error)
                    else:
                        answer.cancel()
                if not isinstance(error, Exception):
                    raise
            else:
                for user, answer in asked.items():
                    answer.set_result(user in found)
