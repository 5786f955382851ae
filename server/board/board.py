"""Reads of the board: from Redis; when Redis is unavailable or empty, from MySQL.

Concurrent reads of the same page share one read. The default page is kept as
bytes and read again only when there is something newer to show.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import structlog

from adapters.files import script
from adapters.mysql import MYSQL_ERRORS
from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS, Redis
from adapters.tasks import end
from scoreboard import backoff, contract
from scoreboard.domain import Standing
from scoreboard.errors import UNAVAILABLE, Problem
from scoreboard.sse import Snapshot
from server.backends.mysql import LedgerReader
from server.board.position import BoardPosition

log = structlog.get_logger()

OFFSET_MAX = 1_000_000
PAGE_MAX_AGE_S = 1.0
"""Refresh even when idle: users may be added and rankings rebuilt."""

REDIS_TIMEOUT_S = 0.5


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the board at exactly `seq`; `body` is the answer of GET /scores."""

    seq: int
    scores: Sequence[Standing]
    body: bytes
    etag: str
    read_at: float


class Board:
    """The board as this process can read it, never older than `position`."""

    def __init__(
        self,
        redis: Redis,
        ledger: LedgerReader,
        *,
        position: BoardPosition,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._ledger = ledger
        self._position = position
        self._clock = clock
        self._script = redis.register_script(script(__package__, "top"))
        self._reads: dict[tuple[int, int], asyncio.Task[Page]] = {}
        self._top: Page | None = None
        self._no_redis_before = 0.0
        # The highest seq of any page served: no later page may be older, whatever its window
        # and source, or a client would see the board go back.
        self._served = 0
        # The history that all of this belongs to.
        self._history = position.history

    def ready_top(self) -> Page | None:
        """The default page if it can be served as it is; costs nothing."""
        # Compared here first: this runs for every read.
        if self._history != self._position.history:
            self._follow_history()
        page = self._top
        if (
            page is not None
            and page.seq >= max(self._position.seq, self._served)
            and self._clock() - page.read_at < PAGE_MAX_AGE_S
        ):
            return page
        return None

    async def page(self, limit: int, offset: int) -> Page:
        """Places `offset` to `offset + limit`, no older than any page before.

        Raises Problem (unavailable), also when only an older page could be read.
        """
        self._follow_history()
        least = max(self._position.seq, self._served)
        page = await self._at_least(limit, offset, least)
        if page.seq < least:
            # MySQL was read last and is the truth: this is another history, which starts over.
            self._served, self._top = page.seq, None
        return page

    def _follow_history(self) -> None:
        """After a replaced history no page from before, nor one being read, may be served."""
        if self._history != self._position.history:
            self._history = self._position.history
            self._served, self._top = 0, None
            self._reads = {}

    async def close(self) -> None:
        """End the reads under way: nobody waits for them, and they would reopen connections."""
        await end(self._reads.values())

    async def snapshot(self, at_least: int = 0) -> Snapshot:
        """The default page for listeners, read again if it is older than `at_least`.

        Its seq may still be lower when nothing newer can be read. Raises Problem.
        """
        page = self.ready_top()
        if page is None or page.seq < at_least:
            page = await self._at_least(contract.TOP_DEFAULT, 0, at_least)
        return Snapshot(seq=page.seq, scores=page.scores)

    async def _at_least(self, limit: int, offset: int, seq: int) -> Page:
        self._follow_history()
        history = self._history
        page = await self._joined(limit, offset)
        if page.seq < seq:
            # The shared read may have begun before this request.
            page = await self._joined(limit, offset)
        if page.seq < seq:
            # Redis is behind a page we already served; read MySQL.
            page = self._made(limit, offset, await self._from_mysql(limit, offset), history)
        if history != self._position.history:
            return await self._at_least(limit, offset, 0)
        self._served = max(self._served, page.seq)
        return page

    async def _joined(self, limit: int, offset: int) -> Page:
        key = (limit, offset)
        read = self._reads.get(key)
        if read is None:
            read = asyncio.create_task(self._read(limit, offset))
            self._reads[key] = read
            read.add_done_callback(partial(self._read_is_over, key))
        # A caller that is cancelled must not cancel the read for the others.
        return await asyncio.shield(read)

    def _read_is_over(self, key: tuple[int, int], read: "asyncio.Task[Page]") -> None:
        # A replaced history may have replaced this entry.
        if self._reads.get(key) is read:
            del self._reads[key]

    async def _read(self, limit: int, offset: int) -> Page:
        history = self._history
        # Until this process knows where the board stands, Redis may be behind what another
        # process, or an earlier one, has shown; MySQL never is.
        from_redis = await self._from_redis(limit, offset) if self._position.known else None
        found = from_redis or await self._from_mysql(limit, offset)
        return self._made(limit, offset, found, history)

    def _made(
        self, limit: int, offset: int, found: tuple[int, Sequence[Standing]], history: int
    ) -> Page:
        """The page that a read begun in `history` found."""
        seq, scores = found
        body = msgspec.json.encode(scores)
        digest = hashlib.blake2b(body, digest_size=9).hexdigest()
        page = Page(seq=seq, scores=scores, body=body, etag=f'"{digest}"', read_at=self._clock())
        is_top = (limit, offset) == (contract.TOP_DEFAULT, 0)
        if (
            history == self._position.history
            and is_top
            and (self._top is None or self._top.seq <= seq)
        ):
            self._top = page
        return page

    async def _from_redis(self, limit: int, offset: int) -> tuple[int, list[Standing]] | None:
        if self._clock() < self._no_redis_before:
            return None
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_S):
                answer: Any = await self._script(
                    keys=(contract.META_KEY, contract.RANKING_KEY),
                    args=(offset, offset + limit - 1),
                )
        except REDIS_ERRORS as error:
            log.warning("board_read_without_redis", error=reason_of(error))
            self._no_redis_before = self._clock() + backoff.REDIS_PAUSE.first_s
            return None
        if answer is None:
            return None
        scores = [
            Standing(user=name.decode(), score=-int(score))
            for name, score in zip(answer[1::2], answer[2::2], strict=True)
        ]
        return int(answer[0]), scores

    async def _from_mysql(self, limit: int, offset: int) -> tuple[int, Sequence[Standing]]:
        try:
            return await self._ledger.top(limit, offset)
        except MYSQL_ERRORS as error:
            log.warning("board_unreadable", error=reason_of(error))
            raise Problem(UNAVAILABLE, "The board cannot be read now.", retry_after_s=1) from None
