"""Admission: rate limits and idempotency keys, a batch at a time.

One Redis call per batch (`admission.lua`). Redis is only a cache of keys; after it
lost them, keys are looked up in the ledger until the new cache is old enough. Those that
the ledger lacks may be of batches that were under way then, so they wait for their end.
While Redis is unavailable nothing is admitted.

Not the exactly-once guarantee: that is the ledger's primary key. Admission only
prevents charging a repeat twice and mistaking another body under a known key for the
original.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

import msgspec
import structlog

from adapters.files import script
from adapters.mysql import MYSQL_ERRORS
from adapters.reasons import reason_of
from adapters.redis import Redis
from adapters.temporal import TEMPORAL_ERRORS
from scoreboard import contract
from scoreboard.domain import Submission
from scoreboard.ratelimit import RateLimit
from server.backends.mysql import Decided, LedgerReader

log = structlog.get_logger()

RETENTION_S = 24 * 3600
"""How long Redis remembers a key's payload; the ledger keeps its id permanently."""

HOLD_S = 2.0
"""So long after Redis lost its keys, what was being admitted then has become a batch, and
Temporal's list shows it."""

ENDS_S = 1.0
"""So long the ends of batches are waited for; whoever comes then is told to come again."""

ENDS_LOOK_S = 0.05

FRESH_RETENTION_S = 600
"""How long Redis remembers an id that the server chose: until the ledger must have it."""


class AdmissionCode(IntEnum):
    """The decision for one item; the numbers are those of the script."""

    ADMITTED = 0
    REPLAY = 1
    CONFLICT = 2
    LIMITED = 3
    UNSURE = 4
    UNKNOWN_USER = 5
    UNSETTLED = 6
    """Not of the script: Redis lost its keys, and a batch that may hold this one still runs."""


class AdmissionResult(msgspec.Struct, frozen=True, gc=False):
    """The decision for one submission; `retry_after_us` counts only when it is LIMITED.

    `quota`: what the user may still submit in the window, after this one.
    """

    code: AdmissionCode
    retry_after_us: int
    quota: int = 0


class Item(msgspec.Struct, frozen=True, gc=False):
    """A submission to admit; `keyed` when its client chose the key."""

    submission: Submission
    keyed: bool


class _Memory(NamedTuple):
    """Since when Redis remembers keys, 0 for long enough, and its time at that moment."""

    since_s: int
    now_us: int

    @property
    def age_s(self) -> float:
        """For how long; a second more at most."""
        return self.now_us / 1e6 - self.since_s


_NOTHING_KNOWN, _NOT_IN_LEDGER, _IN_LEDGER, _USER_EXISTS = range(4)
_CODES = tuple(AdmissionCode)
_quotas = msgspec.msgpack.Decoder(list[int])


class Admission:
    """Decides which submissions reach a workflow."""

    def __init__(
        self,
        redis: Redis,
        ledger: LedgerReader,
        running: Callable[[], Awaitable[Collection[str]]],
        *,
        limit: RateLimit,
        replay_limit: RateLimit,
    ) -> None:
        self._redis = redis
        self._ledger = ledger
        self._running = running
        self._settled_since = 0
        self._settling = asyncio.Lock()
        self._looks = 0
        self._script = redis.register_script(script(__package__, "admission"))
        self._arguments = (
            contract.LIMIT_PREFIX,
            contract.SEEN_PREFIX,
            contract.FRESH_PREFIX,
            limit.count,
            limit.window_us,
            replay_limit.count,
            replay_limit.window_us,
            RETENTION_S,
            FRESH_RETENTION_S,
        )

    async def admit(self, items: Sequence[Item]) -> list[AdmissionResult]:
        """A result for each item, in order; never UNSURE.

        Items of one call must have different ids. One round trip to Redis; while its
        cache of keys is too young, and for users whom the board does not show, a query
        and another round trip; just after Redis lost its keys, HOLD_S + ENDS_S more. A
        user is unknown only when Redis and MySQL say so. Raises REDIS_ERRORS or
        MYSQL_ERRORS: then admission is unknown.
        """
        results, memory = await self._run([(item, _NOTHING_KNOWN) for item in items])
        unsure = [
            index for index, found in enumerate(results) if found.code is AdmissionCode.UNSURE
        ]
        if unsure:
            for index, result in zip(
                unsure,
                await self._ask_ledger([items[index] for index in unsure], memory),
                strict=True,
            ):
                results[index] = result
        await self._admit_unseen_users(items, results)
        return results

    async def _admit_unseen_users(
        self, items: Sequence[Item], results: list[AdmissionResult]
    ) -> None:
        """Admit those whose user exists although the board does not show them: a player who was
        added a moment ago, or a board that was lost in part. Changes `results`."""
        unseen = [
            index for index, found in enumerate(results) if found.code is AdmissionCode.UNKNOWN_USER
        ]
        if not unseen:
            return
        users = {items[index].submission.user_id for index in unseen}
        try:
            existing = await self._ledger.existing(users)
        except MYSQL_ERRORS as error:
            log.warning("users_unreadable", error=reason_of(error))
            existing = users
        found = [index for index in unseen if items[index].submission.user_id in existing]
        if not found:
            return
        admitted, _ = await self._run([(items[index], _USER_EXISTS) for index in found])
        for index, result in zip(found, admitted, strict=True):
            results[index] = result

    async def _ask_ledger(self, items: Sequence[Item], memory: _Memory) -> list[AdmissionResult]:
        wanted = [item.submission.id for item in items]
        decided, settled = await self._ledger.decided(wanted), True
        if not decided and await self._ledger.is_empty():
            # A new system has lost no keys, so the ledger need not be read again.
            await self._redis.set(contract.MEMORY_KEY, 0)
        elif len(decided) < len(wanted) and memory.since_s != self._settled_since:
            settled = await self._settle(memory)
            decided = await self._ledger.decided(wanted)
        standings = [_standing(item.submission, decided, settled=settled) for item in items]
        results, _ = await self._run(
            [
                (item, standing)
                for item, standing in zip(items, standings, strict=True)
                if not isinstance(standing, AdmissionCode)
            ]
        )
        known = iter(results)
        return [
            AdmissionResult(standing, 0) if isinstance(standing, AdmissionCode) else next(known)
            for standing in standings
        ]

    async def _settle(self, memory: _Memory) -> bool:
        """Whether all batches have ended that may hold a key which Redis lost, so that the ledger
        has it; waits for a moment. False when some still run, or Temporal does not say."""
        await asyncio.sleep(HOLD_S - memory.age_s)
        looks = self._looks
        async with self._settling:
            if memory.since_s == self._settled_since:
                return True
            if looks != self._looks:
                # Others have waited in the same time, in vain.
                return False
            left: set[str] | None = None
            try:
                async with asyncio.timeout(ENDS_S):
                    # Later ones hold keys that Redis knows; no clock tells which those are.
                    left = set(await self._running())
                    while left:
                        await asyncio.sleep(ENDS_LOOK_S)
                        left.intersection_update(await self._running())
            except TEMPORAL_ERRORS as error:
                self._looks += 1
                running = "unknown" if left is None else len(left)
                log.warning("lost_keys_may_be_in_batches", running=running, error=reason_of(error))
                return False
            log.info("lost_keys_are_in_the_ledger")
            self._settled_since = memory.since_s
            return True

    async def _run(
        self, items: Sequence[tuple[Item, int]]
    ) -> tuple[list[AdmissionResult], _Memory]:
        if not items:
            return [], _Memory(0, 0)
        packed = msgspec.msgpack.encode(
            [
                (
                    item.submission.id.hex(),
                    str(item.submission.user_id),
                    payload(item.submission),
                    standing,
                    None if item.keyed else fresh_bucket(item.submission.id),
                )
                for item, standing in items
            ]
        )
        found: tuple[list[int], bytes, int, int] = await self._script(
            keys=(contract.MEMORY_KEY, contract.META_KEY, contract.MEMBERS_KEY),
            args=(*self._arguments, packed),
        )
        answer, quotas, since_s, now_us = found
        admitted = AdmissionCode.ADMITTED
        results = [AdmissionResult(admitted, 0, quota) for quota in _quotas.decode(quotas)]
        for index, code, wait_us in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
            quota = results[index - 1].quota
            results[index - 1] = AdmissionResult(_CODES[code], wait_us, quota)
        return results, _Memory(since_s, now_us)


def fresh_bucket(submission_id: bytes) -> str:
    """The hash for an id that the server chose: one per second, taken from the id."""
    return str(int.from_bytes(submission_id[:6], "big") // 1000)


def payload(submission: Submission) -> str:
    """The payload that a key is bound to: a repeat must have exactly this."""
    return f"{submission.user_id}:{submission.increment}"


def _standing(
    submission: Submission, decided: Mapping[bytes, Decided], *, settled: bool
) -> int | AdmissionCode:
    """What the ledger knows of a submission, or the answer that follows from it."""
    found = decided.get(submission.id)
    if found is None:
        return _NOT_IN_LEDGER if settled else AdmissionCode.UNSETTLED
    same = (found.user_id, found.increment) == (submission.user_id, submission.increment)
    return _IN_LEDGER if same else AdmissionCode.CONFLICT
