"""Group commit: all submissions that wait become one batch for Temporal.

An idle committer hands over a batch of one at once. While `in_flight_max` of them are being
handed over, or the usual number is under way, arriving submissions wait, and all of them (up to
a bound) form the next batch. Under load batches grow; latency does not.

No task per request: a submission is one future, resolved with its batch.
"""

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from adapters.mysql import MYSQL_ERRORS
from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS
from adapters.tasks import end
from adapters.temporal import TEMPORAL_ERRORS, is_too_large
from scoreboard import contract, ids
from scoreboard.domain import Submission
from scoreboard.errors import (
    KEY_REUSED,
    OVERLOADED,
    RATE_LIMITED,
    UNAVAILABLE,
    UNKNOWN_USER,
    Problem,
)
from server.observe.counts import CommitCounts
from server.submit.admission import AdmissionCode, AdmissionResult, Item
from server.submit.fair_queue import FairQueue, Shares
from server.submit.inflight_window import InflightWindow
from server.submit.known_limits import KnownLimits
from server.submit.refusals import Refusals

log = structlog.get_logger()

SWEEP_INTERVAL_S = 0.25
STUCK_AFTER_S = 2.0
"""With every permitted batch window and none finishing for this long, reject immediately."""

RETRY_AFTER_S = 1

ALONE_SHARE = 4
"""One principal's part of a batch is a fourth while others are active."""

SHUTTING_DOWN = "The server is shutting down."
UNSETTLED = (
    "Whether this Idempotency-Key is in use is not known yet: Redis lost its keys;"
    " retry with the same."
)
INTERRUPTED = "The submission was interrupted; its effect is unknown."


class StartBatch(Protocol):
    """Makes a batch durable; see `Workflows.start`."""

    def __call__(self, batch_id: str, payload: bytes, *, timeout_s: float) -> Awaitable[None]: ...


class _Entry:
    """A queued submission, and the callers that wait for it."""

    __slots__ = ("item", "quota", "since", "waiters")

    def __init__(self, item: Item, since: float) -> None:
        self.item = item
        self.since = since
        self.quota = 0
        self.waiters: list[asyncio.Future[int]] = []

    @property
    def principal(self) -> str:
        """Whose it is."""
        return self.item.submission.principal

    def resolve(self, problem: Problem | None) -> None:
        for waiter in self.waiters:
            # Done already when the client disconnected.
            if not waiter.done():
                if problem is None:
                    waiter.set_result(self.quota)
                else:
                    waiter.set_exception(problem)


class Committer:
    """Takes submissions one by one and commits them in groups. Made inside a running loop."""

    def __init__(
        self,
        admit: Callable[[Sequence[Item]], Awaitable[list[AdmissionResult]]],
        start: StartBatch,
        *,
        batch_max: int,
        in_flight_max: int,
        queue_max: int,
        timeout_s: float,
        running_usual: int,
        running_max: int,
        refusals: Refusals,
        interval_s: float = 0.0,
        repeats_per_s: float = 100.0,
        log_accepted: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admit = admit
        self._start = start
        self._batch_max = batch_max
        self._in_flight_max = in_flight_max
        self._timeout_s = timeout_s
        self._clock = clock
        # Kept: in Python 3.11 each look-up asks the kernel for the process id.
        self._loop = asyncio.get_running_loop()
        self._refusals = refusals
        # All unresolved submissions by id; `_queue` holds those that are not in a batch yet.
        self._entries: dict[bytes, _Entry] = {}
        self._queue: FairQueue[_Entry] = FairQueue(alone_max=max(1, batch_max // ALONE_SHARE))
        self._shares = Shares(queue_max)
        self._limits = KnownLimits(repeats_per_s=repeats_per_s, clock=clock)
        self._running: set[asyncio.Task[None]] = set()
        self._pump_is_due = False
        self._pump_timer: asyncio.TimerHandle | None = None
        # Closed: nothing new is taken. Stopped: what was taken is not started any more either.
        self._closed = self._stopped = False
        self._log_accepted = log_accepted
        self.counts = CommitCounts()
        self.window = InflightWindow(
            running_usual,
            running_max,
            clock=clock,
            interval_s=interval_s,
            on_room=self._pump_soon,
        )

    @property
    def waiting(self) -> int:
        """Requests that have no answer yet."""
        return self._shares.held

    def submit(self, submission: Submission, *, keyed: bool) -> asyncio.Future[int]:
        """A future that is done once the submission is durable, or fails with a Problem.

        Its result is what the user may still submit in the window of the rate limit.

        Raises Problem at once when the queue is full, or the same id is in progress
        with another body.
        """
        problem = self.over_limit(submission, keyed=keyed)
        if problem is not None:
            # Not raised: whoever hands a refusal on to a slower path would ask twice.
            return self._refusals.later(submission.principal, problem)
        return self.take(submission, keyed=keyed)

    def over_limit(self, submission: Submission, *, keyed: bool) -> Problem | None:
        """The refusal of a submission whose user is known to be over its limit."""
        wait_s = 0.0 if self._closed else self._limits.wait_s(submission.user_id, keyed=keyed)
        if wait_s == 0:
            return None
        self.counts.rate_limited += 1
        return _over_the_limit(wait_s)

    def take(self, submission: Submission, *, keyed: bool) -> asyncio.Future[int]:
        """`submit` for a submission that is not known to be over a limit."""
        if self._closed:
            raise Problem(UNAVAILABLE, SHUTTING_DOWN, retry_after_s=RETRY_AFTER_S)
        if self._shares.full or self.window.stuck(STUCK_AFTER_S):
            self.counts.overloaded += 1
            raise Problem(
                OVERLOADED, "Too many submissions are waiting.", retry_after_s=RETRY_AFTER_S
            )
        if not self._shares.may_take(submission.principal):
            self.counts.rate_limited += 1
            raise Problem(
                RATE_LIMITED,
                "Too many of your submissions are waiting.",
                retry_after_s=RETRY_AFTER_S,
            )
        entry = self._entries.get(submission.id)
        if entry is None:
            entry = _Entry(Item(submission, keyed), self._clock())
            self._entries[submission.id] = entry
            self._queue.append(entry)
            self._pump_soon()
        elif not _same_body(entry.item.submission, submission):
            self.counts.key_reused += 1
            raise _key_reused()
        waiter: asyncio.Future[int] = self._loop.create_future()
        entry.waiters.append(waiter)
        self._shares.take(entry.principal)
        return waiter

    async def sweep(self) -> None:
        """Fail submissions that have waited too long and start due batches, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            self._expire()
            self._pump_soon()

    async def close(self, timeout_s: float) -> None:
        """Refuse new submissions and commit those that wait, for at most `timeout_s`.

        Every caller has its answer when this returns, and no batch is running or will start.
        """
        self._closed = True
        self._refusals.close(Problem(UNAVAILABLE, SHUTTING_DOWN, retry_after_s=RETRY_AFTER_S))
        try:
            waiters = [waiter for entry in self._entries.values() for waiter in entry.waiters]
            if waiters:
                await asyncio.wait(waiters, timeout=timeout_s)
        finally:
            # Before the cancellation: a batch that ends makes room, and its callback pumps.
            self._stopped = True
            if self._pump_timer is not None:
                self._pump_timer.cancel()
            self._fail(self._queue.clear(), SHUTTING_DOWN)
            await end(self._running)
            # A batch cancelled before its first step has not failed its own submissions.
            self._fail(list(self._entries.values()), INTERRUPTED)

    def _pump_soon(self) -> None:
        # Deferred, so that requests already read by the event loop join the same batch.
        if not self._pump_is_due:
            self._pump_is_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_is_due = False
        if self._stopped:
            return
        if self._pump_timer is not None:
            self._pump_timer.cancel()
            self._pump_timer = None
        while self._queue and len(self._running) < self._in_flight_max:
            wait_s = self.window.room_in_s(
                len(self._running), full=len(self._queue) >= self._batch_max
            )
            if wait_s is None:
                break
            if wait_s > 0:
                self._pump_timer = self._loop.call_later(wait_s, self._pump_soon)
                break
            batch = self._queue.take(self._batch_max)
            task = asyncio.create_task(self._commit(batch, self.window.begin(len(batch))))
            self._running.add(task)
            task.add_done_callback(self._batch_is_over)

    def _batch_is_over(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._pump_soon()

    async def _commit(self, batch: list[_Entry], began_at: float) -> None:
        left_s = self._left_s(batch)
        try:
            async with asyncio.timeout(left_s):
                admitted, replays = await self._admitted(batch)
                if admitted:
                    await self._made_durable(admitted, began_at)
                    self.counts.accepted += len(admitted) - replays
                    self.counts.replayed += replays
        except (*REDIS_ERRORS, *MYSQL_ERRORS, *TEMPORAL_ERRORS) as error:
            log.warning("batch_failed", error=reason_of(error), size=len(batch))
            if is_too_large(error) and self._batch_max > 1:
                # Who is refused here comes again, and then fits.
                self._batch_max = max(1, min(self._batch_max, len(batch)) // 2)
                log.warning("batches_made_smaller", batch_max=self._batch_max)
            self._fail(batch, "A backend is unavailable; retry with the same Idempotency-Key.")
        except BaseException:
            self._fail(batch, INTERRUPTED)
            raise

    def _left_s(self, batch: Sequence[_Entry]) -> float:
        """Until the first of the batch must have its answer."""
        oldest = min(entry.since for entry in batch)
        return max(0.05, oldest + self._timeout_s - self._clock())

    async def _admitted(self, batch: list[_Entry]) -> tuple[list[_Entry], int]:
        """The admitted submissions, and how many of them are repeats; the others are resolved."""
        counts, began = self.counts, self._clock()
        results = await self._admit([entry.item for entry in batch])
        counts.admission_s.observe(self._clock() - began)
        admitted, replays = [], 0
        for entry, result in zip(batch, results, strict=True):
            if result.code in (AdmissionCode.ADMITTED, AdmissionCode.REPLAY):
                entry.quota = result.quota
                admitted.append(entry)
                replays += result.code is AdmissionCode.REPLAY
            elif result.code is AdmissionCode.LIMITED:
                counts.rate_limited += 1
                wait_s = result.retry_after_us / 1_000_000
                self._limits.note(entry.item.submission.user_id, wait_s)
                self._resolve(entry, _over_the_limit(wait_s))
            elif result.code is AdmissionCode.UNKNOWN_USER:
                counts.unknown_user += 1
                self._resolve(entry, Problem(UNKNOWN_USER, "There is no such user."))
            elif result.code is AdmissionCode.UNSETTLED:
                self._fail([entry], UNSETTLED)
            else:
                counts.key_reused += 1
                self._resolve(entry, _key_reused())
        return admitted, replays

    async def _made_durable(self, batch: list[_Entry], began_at: float) -> None:
        batch_id = ids.text(ids.time_ordered_id(time.time_ns() // 1_000_000, os.urandom(10)))
        payload = contract.encode_batch([entry.item.submission for entry in batch])
        left_s = self._left_s(batch)
        # Before the start: the batch may be announced as done before its start has returned.
        self.window.add(batch_id, began_at)
        began = self._clock()
        try:
            await self._start(batch_id, payload, timeout_s=left_s)
        except BaseException:
            # The start may still have succeeded; without this we would only find out by polling.
            self.window.discard(batch_id)
            raise
        counts = self.counts
        counts.start_s.observe(self._clock() - began)
        counts.batch_size.observe(len(batch))
        counts.batches_started += 1
        for entry in batch:
            self._resolve(entry, None)
            if self._log_accepted:
                log.info("submission_accepted", submission_id=ids.text(entry.item.submission.id))

    def _fail(self, batch: Sequence[_Entry], detail: str) -> None:
        for entry in batch:
            # Some submissions of the batch may have their answer already.
            self.counts.unavailable += entry.item.submission.id in self._entries
            self._resolve(entry, Problem(UNAVAILABLE, detail, retry_after_s=RETRY_AFTER_S))

    def _resolve(self, entry: _Entry, problem: Problem | None) -> None:
        if self._entries.get(entry.item.submission.id) is entry:
            del self._entries[entry.item.submission.id]
            # Count cancelled callers too: they held a slot until now.
            self._shares.give_back(entry.principal, len(entry.waiters))
        entry.resolve(problem)

    def _expire(self) -> None:
        for entry in self._queue.expired(self._clock() - self._timeout_s):
            problem = Problem(
                OVERLOADED, "Too many submissions are waiting.", retry_after_s=RETRY_AFTER_S
            )
            self.counts.overloaded += 1
            self._resolve(entry, problem)


def _over_the_limit(wait_s: float) -> Problem:
    return Problem(
        RATE_LIMITED, "Too many submissions for this user.", retry_after_s=max(1, math.ceil(wait_s))
    )


def _same_body(one: Submission, other: Submission) -> bool:
    return (one.user_id, one.increment) == (other.user_id, other.increment)


def _key_reused() -> Problem:
    return Problem(KEY_REUSED, "This Idempotency-Key was used with another body.")
