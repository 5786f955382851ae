"""Counts event streams per address and per user across all API processes.

Every process publishes its counts to Redis under a lease, which it renews with one call
for all of them; the counts of a killed process expire. One call is in flight at a time,
and requests that arrive meanwhile share the next one, so a burst of connections costs a
few calls.

While Redis is unavailable each process enforces the limit locally, and streams go on.
"""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog

from adapters.files import script
from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS, Redis
from scoreboard import backoff, contract

log = structlog.get_logger()

CALL_TIMEOUT_S = 0.5
ASKS_PER_CALL = 256


class Claim(NamedTuple):
    """One more stream for a holder whose limit is `limit`."""

    holder: str
    limit: int


class _Ask(NamedTuple):
    claims: Sequence[Claim]
    answer: "asyncio.Future[Claim | None]"


class Leases:
    """This process's counts and, through Redis, those of all processes."""

    def __init__(self, redis: Redis, *, clock: Callable[[], float], lease_s: float) -> None:
        self._script = redis.register_script(script(__package__, "leases"))
        self._clock = clock
        self._lease_s = lease_s
        self._process = secrets.token_hex(8)
        self._held: Counter[str] = Counter()
        self._changed: set[str] = set()
        # Redis does not know this process yet, or has lost it.
        self._tell_all = True
        self._asks: deque[_Ask] = deque()
        self._wake = asyncio.Event()
        self._no_redis_before = 0.0
        self._alone = False
        self._ended = False

    async def acquire(self, claims: Sequence[Claim]) -> Claim | None:
        """Count a stream for every holder and return None, or return the claim over its limit.

        One round trip to Redis, shared with other callers; none while Redis is unavailable.
        """
        if self._paused or self._ended:
            return self._decide_alone(claims)
        ask = _Ask(claims, asyncio.get_running_loop().create_future())
        self._asks.append(ask)
        self._wake.set()
        try:
            return await ask.answer
        except asyncio.CancelledError:
            if ask.answer.done() and not ask.answer.cancelled() and ask.answer.result() is None:
                self.release(claims)
            raise

    def release(self, claims: Sequence[Claim]) -> None:
        """A counted stream has ended. Redis is told with the next call, at once."""
        for holder, _ in claims:
            self._held[holder] -= 1
            if not self._held[holder]:
                del self._held[holder]
            self._changed.add(holder)
        self._wake.set()

    async def run(self) -> None:
        """Answer and renew until cancelled; then release all leases at once."""
        try:
            while True:
                await self._woken_or_renewal_due()
                if self._held and not self._paused:
                    await self._call()
                while self._asks or self._due:
                    await self._call()
        finally:
            # No call to Redis follows: waiting and later callers are answered locally.
            self._ended = True
            self._decide_all_alone(self._asks)
            self._asks.clear()
            await self._leave()

    async def _woken_or_renewal_due(self) -> None:
        try:
            async with asyncio.timeout(self._lease_s / 3):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    @property
    def _due(self) -> bool:
        """Whether Redis has not been told of some count yet."""
        untold = self._changed or (self._tell_all and self._held)
        return bool(untold) and not self._paused

    @property
    def _paused(self) -> bool:
        return self._clock() < self._no_redis_before

    async def _call(self) -> None:
        asks = [self._asks.popleft() for _ in range(min(len(self._asks), ASKS_PER_CALL))]
        if self._paused:
            # They arrived before the call in flight failed.
            self._decide_all_alone(asks)
            return
        told_all, self._tell_all = self._tell_all, False
        changed = list(self._held) if told_all else list(self._changed)
        self._changed.clear()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                known, *answers = await self._ask_redis(told_all, changed, asks)
        except REDIS_ERRORS as error:
            self._note_unavailable(error)
            self._decide_all_alone(asks)
            return
        except asyncio.CancelledError:
            self._decide_all_alone(asks)
            raise
        self._note_reached()
        self._tell_all = self._tell_all or not known
        for ask, full in zip(asks, answers, strict=True):
            self._answer(ask, full)

    async def _ask_redis(
        self, everything: bool, changed: Sequence[str], asks: Sequence[_Ask]
    ) -> list[int]:
        counts: list[str | int] = []
        for holder in changed:
            counts += (holder, self._held.get(holder, 0))
        packed = msgspec.msgpack.encode(
            (everything, counts, [[part for claim in ask.claims for part in claim] for ask in asks])
        )
        answer: Any = await self._script(
            keys=(contract.STREAM_PROCESSES_KEY,),
            args=(contract.STREAM_COUNTS_PREFIX, self._process, int(self._lease_s * 1000), packed),
        )
        return list(answer)

    def _answer(self, ask: _Ask, full: int) -> None:
        if full:
            if not ask.answer.done():
                ask.answer.set_result(ask.claims[full - 1])
            return
        self._count(ask.claims)
        if ask.answer.done():
            # The client disconnected during the call.
            self.release(ask.claims)
        else:
            ask.answer.set_result(None)

    def _decide_all_alone(self, asks: Iterable[_Ask]) -> None:
        for ask in asks:
            if not ask.answer.done():
                ask.answer.set_result(self._decide_alone(ask.claims))

    def _decide_alone(self, claims: Sequence[Claim]) -> Claim | None:
        for claim in claims:
            if self._held[claim.holder] >= claim.limit:
                return claim
        self._count(claims)
        return None

    def _count(self, claims: Sequence[Claim]) -> None:
        self._held.update(claim.holder for claim in claims)

    def _note_unavailable(self, error: Exception) -> None:
        if not self._alone:
            log.warning("stream_limits_without_redis", error=reason_of(error))
        self._alone = True
        # Whether Redis processed the call is unknown, and it may restart empty.
        self._tell_all = True
        self._no_redis_before = self._clock() + backoff.REDIS_PAUSE.first_s

    def _note_reached(self) -> None:
        if self._alone:
            log.info("stream_limits_shared_again")
        self._alone = False

    async def _leave(self) -> None:
        self._held.clear()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._ask_redis(True, (), ())
        except REDIS_ERRORS:
            # They expire by themselves.
            log.debug("leases_left_to_lapse")
