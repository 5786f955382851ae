"""Whether Redis is behind MySQL for longer than publishing takes; then reads come from MySQL. And
whether MySQL goes on with what Redis has shown: if not, it lost changes, and what it has must not
be shown before a worker has begun another history.

In every process, since one that cannot reach Redis shows what MySQL has (`read_order`). A process
that cannot ask MySQL trusts Redis.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import structlog

from adapters.ledger_queries import BoardRow
from adapters.mysql import MYSQL_ERRORS
from adapters.redis import REDIS_ERRORS, Redis
from scoreboard import contract
from server.backends.mysql import LedgerReader
from server.board.position import BoardPosition
from server.board.read_order import Learned

log = structlog.get_logger()

INTERVAL_S = 0.25
BEHIND_S = 1.0
"""With the interval, an answer of both backends and a turn of the loop, less than
`read_order.HOLD_S`."""


class RedisWatch:
    """Keeps `position.behind` and `position.forked`."""

    def __init__(self, redis: Redis, ledger: LedgerReader, position: BoardPosition) -> None:
        self._redis = redis
        self._ledger = ledger
        self._position = position
        self._committed = Learned(BEHIND_S)
        # The last position that Redis was seen at, and the identity of the change there.
        self._shown = 0, ""

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            try:
                behind = await self._is_behind()
            except MYSQL_ERRORS:
                behind = self._position.behind
            if behind and not self._position.behind:
                log.warning("redis_behind", committed=self._committed.settled)
            self._position.behind = behind
            await asyncio.sleep(INTERVAL_S)

    async def _is_behind(self) -> bool:
        board = await self._ledger.board()
        self._committed.left_s(board.seq, time.monotonic())
        found: Sequence[Any] = (None, None)
        try:
            # Bounded, or what MySQL said would be old when Redis answers.
            async with asyncio.timeout(INTERVAL_S):
                found = await self._redis.hmget(contract.META_KEY, ["seq", "tip"])
        except REDIS_ERRORS:
            # To be compared again before the first read of it.
            pass
        raw, tip = found
        seq = contract.position_of(raw)
        identity = contract.tip_at(raw, tip)
        if seq is not None and identity is not None:
            self._shown = seq, identity
        self._position.forked = await self._is_forked(board)
        return seq is None or seq < self._committed.settled

    async def _is_forked(self, board: BoardRow) -> bool:
        """Whether the ledger has another change than Redis has shown, and no history begins after
        it. The board was read before Redis, which may be ahead of it by now."""
        seq, tip = self._shown
        if not tip or board.starts_after > seq or board.seq < seq:
            return False
        there = board.tip if board.seq == seq else (await self._ledger.run_after(seq, 0)).before
        # A change that the ledger no longer has, since old ones were archived, is no other one.
        return there not in (tip, "", contract.start_identity(seq))
