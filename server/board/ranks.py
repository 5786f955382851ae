"""A user's rank and neighbours: from Redis, or from MySQL while Redis is unavailable.

Equal scores share a rank and the next rank is skipped (competition ranking); among
equals, the user who reached the score first comes first.
"""

import asyncio
from typing import Any

import msgspec
import structlog

from adapters.files import script
from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS, Redis
from scoreboard import contract
from scoreboard.errors import NOT_FOUND, Problem
from server.backends.mysql import LedgerReader, RankedUser
from server.board.existence import Existence
from server.board.joined_reads import JoinedReads
from server.board.read_order import LEASE_S, ReadOrder
from server.board.readable import readable, unreadable

log = structlog.get_logger()
UNREADABLE = "rank_unreadable", "Ranks"

NEIGHBOURS_DEFAULT = 2
NEIGHBOURS_MAX = 50
REDIS_TIMEOUT_S = 0.5


class Place(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One neighbour of a user."""

    rank: int
    user_id: int
    user: str
    score: int


class Surroundings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer of GET /scores/users/{id}: the user, and the neighbours including the user."""

    rank: int
    user_id: int
    user: str
    score: int
    neighbours: list[Place]


class Ranks:
    """Reads of ranks."""

    def __init__(self, redis: Redis, ledger: LedgerReader, order: ReadOrder) -> None:
        self._redis = redis
        self._ledger = ledger
        self._order = order
        self._existence = Existence(ledger.existing)
        self._reads = JoinedReads[tuple[int, int], tuple[int, list[Place]]]()
        self._script = redis.register_script(script(__package__, "rank"))

    async def around(
        self, user_id: int, neighbours: int, floor: int = 0
    ) -> tuple[int, Surroundings]:
        """The seq and the user's surroundings at it, no older than any read nor than `floor`.

        Raises Problem: not_found, or unavailable when neither source answers in time.
        """
        least = max(self._order.least, floor)
        usable = self._order.redis_usable
        found = await self._from_redis(user_id, neighbours) if usable else None
        published = found is not None and bool(found[1]) and found[0] >= least
        if found is None or not published:
            # Redis may lack a user who was added a moment ago.
            if not await self._exists(user_id):
                raise Problem(NOT_FOUND, "There is no such user.")
            # An older read may be behind.
            found = await self._reads.join(
                (user_id, neighbours),
                lambda: self._from_mysql(user_id, neighbours),
                within_s=LEASE_S,
            )
        seq, places = found
        for place in places:
            if place.user_id == user_id:
                if seq < least:
                    raise unreadable(UNREADABLE[1])
                await self._order.settle(seq, published=published)
                if not self._order.serve(seq, published=published):
                    raise unreadable(UNREADABLE[1])
                return seq, Surroundings(
                    rank=place.rank,
                    user_id=user_id,
                    user=place.user,
                    score=place.score,
                    neighbours=places,
                )
        raise Problem(NOT_FOUND, "There is no such user.")

    async def _from_redis(self, user_id: int, neighbours: int) -> tuple[int, list[Place]] | None:
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_S):
                answer: Any = await self._script(
                    keys=(contract.META_KEY, contract.RANKING_KEY, contract.MEMBERS_KEY),
                    args=(user_id, neighbours),
                )
        except REDIS_ERRORS as error:
            log.warning("rank_read_without_redis", error=reason_of(error))
            return None
        seq = contract.position_of(answer[0]) if answer else None
        if seq is None:
            return None
        lines = zip(answer[2::4], answer[3::4], answer[4::4], answer[5::4], strict=True)
        try:
            return seq, [
                Place(rank=int(better) + 1, user_id=int(key), user=name.decode(), score=-int(score))
                for key, name, score, better in lines
            ]
        except ValueError:
            # Somebody else has written there, and the worker has not healed it yet.
            return None

    async def close(self) -> None:
        """End the reads under way: nobody waits for them, and they would reopen connections."""
        await self._existence.close()
        await self._reads.close()

    async def _exists(self, user_id: int) -> bool:
        with readable(*UNREADABLE):
            return await self._existence.known(user_id)

    async def _from_mysql(self, user_id: int, neighbours: int) -> tuple[int, list[Place]]:
        with readable(*UNREADABLE):
            seq, users = await self._ledger.around(user_id, neighbours)
        return seq, [_place(user) for user in users]


def _place(user: RankedUser) -> Place:
    return Place(rank=user.better + 1, user_id=user.user_id, user=user.name, score=user.score)
