"""Whether Redis is behind MySQL for longer than publishing takes; then reads come from MySQL.

In every process, since one that cannot reach Redis shows what MySQL has (`read_order`). A process
that cannot ask MySQL trusts Redis.
"""

import asyncio
import time

import structlog

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
    """Keeps `position.behind`."""

    def __init__(self, redis: Redis, ledger: LedgerReader, position: BoardPosition) -> None:
        self._redis = redis
        self._ledger = ledger
        self._position = position
        self._committed = Learned(BEHIND_S)

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
        try:
            # Bounded, or what MySQL said would be old when Redis answers.
            async with asyncio.timeout(INTERVAL_S):
                seq = await self._redis.hget(contract.META_KEY, "seq")
        except REDIS_ERRORS:
            # To be compared again before the first read of it.
            return True
        return seq is None or int(seq) < self._committed.settled
