"""Which started batches have not finished: the bound that turns pressure into larger batches.

Each batch has a price of its own, so few are under way at a time and what comes
meanwhile makes the next one larger. More are started when that one is full, and,
slowly, when none ends, say without a worker: what is accepted then waits in
Temporal instead of here.

A finished batch is announced over Redis pub/sub. That is a hint which may get
lost, so a batch that stays silent for long is looked up in Temporal.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from scoreboard import contract
from server.redis import REDIS_ERRORS, Redis

log = structlog.get_logger()

PATIENCE_S = 0.25
"""With none started or finished for so long, one more than usual may start."""

LOOK_UP_AFTER_S = 3.0
LOOK_UP_INTERVAL_S = 0.5
LOOK_UPS_AT_ONCE = 4
LISTEN_TIMEOUT_S = 1.0
RETRY_S = 0.5


class Unfinished:
    """The batches of this process that run, by id, and when each was last known to."""

    def __init__(self, usual: int, maximum: int, *, clock: Callable[[], float]) -> None:
        self.usual = min(usual, maximum)
        self.maximum = maximum
        self._clock = clock
        self._known_at: dict[str, float] = {}
        self._moved_at = clock()
        self.on_room: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._known_at)

    def has_room(self, starting: int, *, full: bool) -> bool:
        """Whether a further batch may start beside `starting` that are about to.

        `full`: it would not become larger by waiting.
        """
        count = len(self._known_at) + starting
        return count < self.usual or (
            count < self.maximum and (full or self._clock() - self._moved_at > PATIENCE_S)
        )

    def stuck(self, patience_s: float) -> bool:
        """Whether all permitted batches are under way and none has finished for `patience_s`."""
        full = len(self._known_at) >= self.maximum
        return full and self._clock() - self._moved_at > patience_s

    def add(self, batch_id: str) -> None:
        """A batch is about to start."""
        self._known_at[batch_id] = self._moved_at = self._clock()

    def discard(self, batch_id: str) -> None:
        """A batch has finished or never started. Unknown ids are those of other processes."""
        if self._known_at.pop(batch_id, None) is not None:
            self._moved_at = self._clock()
            self.on_room()

    async def listen(self, redis: Redis) -> None:
        """Take announcements until cancelled; survives Redis' absences."""
        while True:
            try:
                async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(contract.DONE_CHANNEL)
                    while True:
                        message = await subscription.get_message(timeout=LISTEN_TIMEOUT_S)
                        if message is not None:
                            self.discard(message["data"].decode())
            except REDIS_ERRORS:
                await asyncio.sleep(RETRY_S)

    async def look_up(self, is_running: Callable[[str], Awaitable[bool]]) -> None:
        """Ask for batches that stayed silent, until cancelled.

        `is_running` answers for one batch id and does not raise: True when in doubt.
        """
        while True:
            await asyncio.sleep(LOOK_UP_INTERVAL_S)
            before = self._clock() - LOOK_UP_AFTER_S
            silent = [key for key, at in self._known_at.items() if at < before]
            for batch_id in silent[:LOOK_UPS_AT_ONCE]:
                if await is_running(batch_id):
                    if batch_id in self._known_at:
                        self._known_at[batch_id] = self._clock()
                else:
                    self.discard(batch_id)
