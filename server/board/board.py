"""Reads of the board: from Redis; when Redis is unavailable or empty, from MySQL.

Concurrent reads of the same page share one read. The default page is kept as bytes and renewed
while it is asked for. When a page may be served: `read_order`.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from adapters.files import script
from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS, Redis
from adapters.tasks import end
from scoreboard import backoff, contract
from scoreboard.domain import Standing
from scoreboard.errors import Problem
from scoreboard.sse import Snapshot
from server.backends.mysql import LedgerReader
from server.board.joined_reads import JoinedReads
from server.board.position import BoardPosition
from server.board.read_order import HOLD_POLL_S, LEASE_S, ReadOrder
from server.board.readable import readable, unreadable

log = structlog.get_logger()

OFFSET_MAX = 1_000_000
REDIS_TIMEOUT_S = 0.5
UNREADABLE = "The board"


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the board at exactly `seq`; `body` is the answer of GET /scores.

    `read_at` is when the backend was asked, `published` whether that was Redis.
    """

    seq: int
    scores: Sequence[Standing]
    body: bytes
    etag: str
    read_at: float
    published: bool


class Board:
    """The board as this process can read it, in order with all other reads."""

    def __init__(
        self,
        redis: Redis,
        ledger: LedgerReader,
        *,
        position: BoardPosition,
        order: ReadOrder | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._ledger = ledger
        self._position = position
        self._order = order or ReadOrder(position)
        self._clock = clock
        self._script = redis.register_script(script(__package__, "top"))
        self._reads = JoinedReads[tuple[int, int], Page](clock=clock)
        self._top: Page | None = None
        self._no_redis_before = 0.0
        self._renewing: asyncio.Task[None] | None = None
        # The history that all of this belongs to.
        self._history = position.history

    def ready_top(self) -> Page | None:
        """The default page if it can be served as it is; costs nothing."""
        # Compared here first: this runs for every read.
        if self._history != self._position.history:
            self._follow_history()
        page = self._top
        if page is None or page.seq < self._position.seq or page.seq < self._order.served:
            return None
        age_s = self._clock() - page.read_at
        if age_s >= LEASE_S:
            return None
        if age_s >= LEASE_S / 2 and self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())
        return page

    async def _renew(self) -> None:
        """Read the page again before its time is over, so that who asks need not wait."""
        history = self._history
        try:
            page = await self._joined(contract.TOP_DEFAULT, 0)
            if self._order.left_s(page.seq, published=page.published) <= 0:
                self._keep(page, history)
        except Problem:
            # Whoever asks next is told.
            pass
        finally:
            self._renewing = None

    async def page(self, limit: int, offset: int, floor: int = 0) -> Page:
        """Places `offset` to `offset + limit`, no older than any page before nor than `floor`.

        Raises Problem (unavailable), also when only an older page could be read.
        """
        self._follow_history()
        least = max(self._order.least, floor)
        page = await self._at_least(limit, offset, least)
        history = self._history
        page = await self._settled(page, limit, offset)
        if history != self._position.history:
            return await self.page(limit, offset, floor)
        if page.seq < least:
            # MySQL was read last: an old server, or set back. Only a worker can tell, and then
            # begins another history, whose numbers are higher.
            raise unreadable(UNREADABLE)
        self._serve(page)
        if (limit, offset) == (contract.TOP_DEFAULT, 0):
            self._keep(page, history)
        return page

    def _serve(self, page: Page) -> None:
        """Note that a page is served. Raises Problem when it must not be."""
        if not self._order.serve(page.seq, published=page.published):
            raise unreadable(UNREADABLE)

    async def _settled(self, page: Page, limit: int, offset: int) -> Page:
        """This page or a newer one, when it may be served."""
        while (left_s := self._order.left_s(page.seq, published=page.published)) > 0:
            await asyncio.sleep(min(left_s, HOLD_POLL_S))
            if not page.published:
                again = await self._joined(limit, offset)
                if again.published and again.seq >= page.seq:
                    page = again
        return page

    def _keep(self, page: Page, history: int) -> None:
        if history == self._position.history and (self._top is None or self._top.seq <= page.seq):
            self._top = page

    def _follow_history(self) -> None:
        """After a replaced history no page from before, nor one being read, may be served."""
        if self._history != self._position.history:
            self._history = self._position.history
            self._order.begin_anew()
            self._top = None
            self._reads.forget()

    async def close(self) -> None:
        """End the reads under way: nobody waits for them, and they would reopen connections."""
        if self._renewing is not None:
            await end([self._renewing])
        await self._reads.close()

    async def snapshot(self, at_least: int = 0) -> Snapshot:
        """The default page for listeners, read again if it is older than `at_least`.

        Its seq may still be lower when nothing newer can be read. Raises Problem.
        """
        page = self.ready_top()
        if page is None or page.seq < at_least:
            page = await self._at_least(contract.TOP_DEFAULT, 0, at_least)
            self._serve(page)
        return Snapshot(seq=page.seq, scores=page.scores)

    async def _at_least(self, limit: int, offset: int, seq: int) -> Page:
        self._follow_history()
        history = self._history
        asked_at = self._clock()
        page = await self._joined(limit, offset)
        if page.seq < seq or page.read_at < min(asked_at, self._clock() - LEASE_S):
            # The shared read may have begun before this request.
            page = await self._joined(limit, offset)
        if page.seq < seq:
            # Redis is behind a page we already served; read MySQL.
            began = self._clock()
            found = await self._from_mysql(limit, offset)
            page = self._made(found, began, published=False)
        if history != self._position.history:
            return await self._at_least(limit, offset, 0)
        return page

    async def _joined(self, limit: int, offset: int) -> Page:
        return await self._reads.join((limit, offset), lambda: self._read(limit, offset))

    async def _read(self, limit: int, offset: int) -> Page:
        began = self._clock()
        # Until this process knows where the board stands, Redis may be behind what another
        # process, or an earlier one, has shown; MySQL never is.
        from_redis = await self._from_redis(limit, offset) if self._order.redis_usable else None
        found = from_redis or await self._from_mysql(limit, offset)
        return self._made(found, began, published=from_redis is not None)

    def _made(
        self, found: tuple[int, Sequence[Standing]], began: float, *, published: bool
    ) -> Page:
        """The page that a read begun at `began` found."""
        seq, scores = found
        body = msgspec.json.encode(scores)
        digest = hashlib.blake2b(body, digest_size=9).hexdigest()
        etag = f'"{digest}"'
        return Page(
            seq=seq, scores=scores, body=body, etag=etag, read_at=began, published=published
        )

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
        seq = contract.position_of(answer[0]) if answer else None
        if seq is None:
            return None
        lines = zip(answer[1::3], answer[2::3], answer[3::3], strict=True)
        try:
            return seq, [
                Standing(user=name.decode(), score=-int(score), user_id=int(user_id))
                for user_id, name, score in lines
            ]
        except ValueError:
            # Somebody else has written there, and the worker has not healed it yet.
            return None

    async def _from_mysql(self, limit: int, offset: int) -> tuple[int, Sequence[Standing]]:
        with readable("board_unreadable", UNREADABLE):
            return await self._ledger.top(limit, offset)
