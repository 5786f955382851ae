"""Decides which submissions may go on: rate limit and idempotency keys, a batch at a time.

One Redis call for a batch (`admission.lua`). Redis is only the quick memory for
keys; after it lost that memory, keys are looked up in the ledger until the new
one is old enough. When Redis is away nothing is admitted.

Not the exactly-once guarantee: that is the ledger's primary key. Admission only
keeps a repeat from being charged twice, and another body under a known key from
being taken for the first.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum

import msgspec

from adapters.files import script
from adapters.redis import Redis
from scoreboard import contract
from scoreboard.domain import Submission
from scoreboard.ratelimit import RateLimit
from server.backends.mysql import Decided, LedgerReader

RETENTION_S = 24 * 3600
"""How long a key's payload is remembered in Redis; the ledger keeps its id for ever."""

FRESH_RETENTION_S = 600
"""How long an id that the server chose is remembered: until the ledger surely has it."""


class Code(IntEnum):
    """What became of one item; the numbers are those of the script."""

    ADMITTED = 0
    REPLAY = 1
    CONFLICT = 2
    LIMITED = 3
    UNSURE = 4


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The answer for one submission; `retry_after_us` only says something when limited."""

    code: Code
    retry_after_us: int


class Item(msgspec.Struct, frozen=True, gc=False):
    """A submission that asks for admission; `keyed` when its client chose the key."""

    submission: Submission
    keyed: bool


_NOTHING_KNOWN, _NOT_IN_LEDGER, _IN_LEDGER = range(3)
_CODES = tuple(Code)
_ADMITTED = Verdict(Code.ADMITTED, 0)


class Admission:
    """The gate in front of the workflow."""

    def __init__(
        self, redis: Redis, ledger: LedgerReader, *, limit: RateLimit, replay_limit: RateLimit
    ) -> None:
        self._redis = redis
        self._ledger = ledger
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

    async def admit(self, items: Sequence[Item]) -> list[Verdict]:
        """A verdict for each item, in order; never UNSURE.

        Items of one call must have different ids. One round trip to Redis;
        while its memory of keys is too young, a query and a second one.
        Raises REDIS_ERRORS or MYSQL_ERRORS: then nothing is known to be admitted.
        """
        verdicts = await self._run([(item, _NOTHING_KNOWN) for item in items])
        unsure = [index for index, found in enumerate(verdicts) if found.code is Code.UNSURE]
        if unsure:
            for index, verdict in zip(
                unsure, await self._ask_ledger([items[index] for index in unsure]), strict=True
            ):
                verdicts[index] = verdict
        return verdicts

    async def _ask_ledger(self, items: Sequence[Item]) -> list[Verdict]:
        decided = await self._ledger.decided([item.submission.id for item in items])
        if not decided and await self._ledger.is_empty():
            # A new system has forgotten nothing, so it need not ask again.
            await self._redis.set(contract.MEMORY_KEY, 0)
        standings = [_standing(item.submission, decided) for item in items]
        known = iter(
            await self._run(
                [
                    (item, standing)
                    for item, standing in zip(items, standings, strict=True)
                    if standing is not None
                ]
            )
        )
        conflict = Verdict(Code.CONFLICT, 0)
        return [conflict if standing is None else next(known) for standing in standings]

    async def _run(self, items: Sequence[tuple[Item, int]]) -> list[Verdict]:
        if not items:
            return []
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
        answer: list[int] = await self._script(
            keys=(contract.MEMORY_KEY,), args=(*self._arguments, packed)
        )
        verdicts = [_ADMITTED] * len(items)
        for index, code, wait_us in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
            verdicts[index - 1] = Verdict(_CODES[code], wait_us)
        return verdicts


def fresh_bucket(submission_id: bytes) -> str:
    """Which hash remembers an id that the server chose: that of the second in the id."""
    return str(int.from_bytes(submission_id[:6], "big") // 1000)


def payload(submission: Submission) -> str:
    """What a key is bound to: a repeat must ask for exactly this."""
    return f"{submission.user_id}:{submission.increment}"


def _standing(submission: Submission, decided: Mapping[bytes, Decided]) -> int | None:
    """What the ledger says of a submission; None when it has another body under the same id."""
    found = decided.get(submission.id)
    if found is None:
        return _NOT_IN_LEDGER
    same = (found.user_id, found.increment) == (submission.user_id, submission.increment)
    return _IN_LEDGER if same else None
