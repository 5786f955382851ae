"""When a read may be answered, so that reads never go back, whichever processes answer them.

A read that begins after another one has ended, anywhere, is not older. Processes do not talk to
each other, so each one keeps to three bounds (docs/decisions/monotonic-reads.md):

- what was read is served for LEASE_S at most, counted from the request to the backend
- what Redis shows is served LEASE_S after this process first saw it there: what others read
  before it was published is not served any more then
- what MySQL shows is served HOLD_S after this process first saw it there, unless Redis shows it
  sooner. By then it is published, or every process knows that Redis is behind (`redis_watch`) and
  reads MySQL.

Not the reading itself: see `board` and `ranks`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from server.board.position import BoardPosition

LEASE_S = 0.01
HOLD_S = 2.0
HOLD_POLL_S = 0.05


class Learned:
    """Sequence numbers by when they were first seen; settled `wait_s` later. Pure."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._seen: deque[tuple[int, float]] = deque()
        self.settled = 0

    def left_s(self, seq: int, now: float) -> float:
        """Note that `seq` is there now; seconds until it is settled, at most 0 if it is."""
        if seq > self.settled and (not self._seen or seq > self._seen[-1][0]):
            self._seen.append((seq, now))
        while self._seen and self._seen[0][1] + self._wait_s <= now:
            self.settled = max(self.settled, self._seen.popleft()[0])
        if seq <= self.settled:
            return 0.0
        return next(since for known, since in self._seen if known >= seq) + self._wait_s - now


class ReadOrder:
    """Shared by all reads of this process. `served` is the highest seq that any of them gave."""

    def __init__(
        self,
        position: BoardPosition,
        *,
        hold_s: float = HOLD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.position = position
        self.served = 0
        self._clock, self._hold_s = clock, hold_s
        self._published, self._committed = Learned(LEASE_S), Learned(hold_s)

    @property
    def least(self) -> int:
        """No read may be older."""
        return max(self.position.seq, self.served)

    @property
    def redis_usable(self) -> bool:
        """Whether Redis is known not to be behind what was shown anywhere."""
        return self.position.known and not self.position.behind

    def begin_anew(self) -> None:
        """Another history, whose numbers may be lower."""
        self.served = 0
        self._published, self._committed = Learned(LEASE_S), Learned(self._hold_s)

    def left_s(self, seq: int, *, published: bool) -> float:
        """Seconds until a board at `seq` may be served; `published`: Redis shows it."""
        if seq <= max(self._published.settled, self._committed.settled):
            return 0.0
        learned = self._published if published else self._committed
        return learned.left_s(seq, self._clock())

    async def settle(self, seq: int, *, published: bool) -> None:
        """Return when a board at `seq` may be served."""
        if (left_s := self.left_s(seq, published=published)) > 0:
            await asyncio.sleep(left_s)

    def serve(self, seq: int, *, published: bool) -> bool:
        """Note that a board at `seq` is served. False when it must not be: it is MySQL's, which
        does not go on with what was shown."""
        if self.position.forked and not published:
            return False
        self.served = max(self.served, seq)
        return True
