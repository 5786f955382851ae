"""Backpressure: a cap on in-flight batches, so that load makes batches larger.

Each batch has a fixed cost, so only a few are in flight, and submissions that arrive meanwhile
join the next one. Batches start evenly apart: those that are carried together end together, and
would start together again. Once batches hold several submissions, they also keep a least
interval: so many wait for each that fewer, larger ones answer sooner on average. An operator may
ask for a longer one, which trades latency for CPU. Further batches start when the next one is
full and, slowly, when none finishes, for example without a worker: accepted submissions then wait
in Temporal instead of here.

A finished batch is announced over Redis pub/sub. An announcement can get lost, so while a batch
stays silent for long, Temporal is asked which ones are under way.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS, Redis
from adapters.temporal import TEMPORAL_ERRORS
from scoreboard import backoff, contract

log = structlog.get_logger()

PATIENCE_S = 0.25
"""When no batch has started or finished for this long, one more than usual may start."""

SMOOTHING = 0.2
"""The weight of the last batch in the moving averages of their duration and size."""

BUSY_INTERVAL_S = 0.01
BUSY_BATCH = 5
"""From so many submissions in a batch on, batches keep this interval; smaller ones a part of it,
and batches of one none."""

LOOK_UP_AFTER_S = 3.0
LOOK_UP_INTERVAL_S = 0.5
UNANNOUNCED_AFTER_S = 0.1
"""The same while batches end unannounced: the user of Redis may lack the channel."""

LISTEN_TIMEOUT_S = 1.0


class InflightWindow:
    """This process's batches in flight, by id, and when each was last known to run.

    `on_room` is called when one has finished. Not thread-safe, like everything in this process.
    """

    def __init__(
        self,
        usual: int,
        maximum: int,
        *,
        clock: Callable[[], float],
        interval_s: float = 0.0,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self.usual = min(usual, maximum)
        self.maximum = maximum
        self._clock = clock
        self._interval_s = interval_s
        self._known_at: dict[str, float] = {}
        self._began_at: dict[str, float] = {}
        self._last_began_at = -math.inf
        self._mean_s = 0.0
        self._mean_size = 1.0
        self._moved_at = clock()
        self._on_room = on_room
        self._announced = True

    def __len__(self) -> int:
        return len(self._known_at)

    def room_in_s(self, starting: int, *, full: bool) -> float | None:
        """Seconds until a further batch may start beside `starting` that are about to.

        None: not before one finishes. `full`: the batch cannot grow by waiting.
        """
        count = len(self._known_at) + starting
        if count >= self.maximum:
            return None
        if full:
            return 0.0
        due = self._last_began_at + self._apart_s()
        if 0 < count < self.usual:
            due = max(due, self._last_began_at + min(self._mean_s / self.usual, PATIENCE_S))
        elif count:
            due = max(due, self._moved_at + PATIENCE_S)
        return max(0.0, due - self._clock())

    def _apart_s(self) -> float:
        """The least interval between two starts."""
        busy = min(1.0, (self._mean_size - 1) / (BUSY_BATCH - 1))
        return max(self._interval_s, busy * BUSY_INTERVAL_S)

    def oldest_s(self) -> float:
        """Age of the oldest batch under way; 0 without one."""
        return self._clock() - min(self._began_at.values(), default=self._clock())

    def stuck(self, patience_s: float) -> bool:
        """Whether all permitted batches are under way and none has finished for `patience_s`."""
        full = len(self._known_at) >= self.maximum
        return full and self._clock() - self._moved_at > patience_s

    def begin(self, size: int = 1) -> float:
        """A batch of so many is taken from the queue; returns the time, for `add`."""
        self._mean_size += SMOOTHING * (size - self._mean_size)
        self._last_began_at = self._clock()
        return self._last_began_at

    def add(self, batch_id: str, began_at: float) -> None:
        """A batch that began at `began_at` is about to start."""
        self._known_at[batch_id] = self._moved_at = self._clock()
        self._began_at[batch_id] = began_at

    def discard(self, batch_id: str) -> None:
        """A batch has finished or never started. Unknown ids belong to other processes."""
        if self._known_at.pop(batch_id, None) is not None:
            self._moved_at = self._clock()
            # Clamp outliers: a stalled batch does not predict the next one.
            took_s = min(self._moved_at - self._began_at.pop(batch_id), self.usual * PATIENCE_S)
            self._mean_s += SMOOTHING * (took_s - self._mean_s)
            self._on_room()

    async def listen(self, redis: Redis) -> None:
        """Take announcements until cancelled, also across Redis outages."""
        logged = ""
        while True:
            try:
                async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(contract.DONE_CHANNEL)
                    while True:
                        message = await subscription.get_message(timeout=LISTEN_TIMEOUT_S)
                        # Only now: a user without the right is told so by the first answer.
                        logged = ""
                        if message is not None:
                            self.announced(message["data"].decode(errors="replace").split())
            except REDIS_ERRORS as error:
                self._announced = False
                if (reason := reason_of(error)) != logged:
                    log.warning("announcements_unheard", error=reason)
                logged = reason
                await asyncio.sleep(backoff.DONE_SUBSCRIPTION.first_s)

    def announced(self, batch_ids: Sequence[str]) -> None:
        """Batches have finished, of whichever process."""
        for batch_id in batch_ids:
            self._announced |= batch_id in self._known_at
            self.discard(batch_id)

    async def look_up(self, running: Callable[[], Awaitable[Collection[str]]]) -> None:
        """Look up batches that stayed silent, until cancelled.

        `running` gives the ids of all batches that have not ended, or raises TEMPORAL_ERRORS.
        """
        while True:
            await asyncio.sleep(LOOK_UP_INTERVAL_S if self._announced else UNANNOUNCED_AFTER_S)
            before = self._clock() - (LOOK_UP_AFTER_S if self._announced else UNANNOUNCED_AFTER_S)
            silent = [key for key, at in self._known_at.items() if at < before]
            if not silent:
                continue
            try:
                known = await running()
            except TEMPORAL_ERRORS:
                # In doubt they run.
                known = silent
            for batch_id in silent:
                if batch_id not in self._known_at:
                    continue
                if batch_id in known:
                    self._known_at[batch_id] = self._clock()
                else:
                    self._announced = False
                    self.discard(batch_id)
