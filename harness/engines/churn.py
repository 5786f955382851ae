"""When listeners come back and when they leave: due times in order. No sockets, no clock."""

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Churn:
    """Listeners that leave on purpose and resume: how long they stay and then stay away."""

    listeners: range
    stays_s: tuple[float, float]
    away_s: tuple[float, float]


class Comings:
    """Due times of listeners that are away, and of those that will leave. Times in ns."""

    def __init__(self, churn: Sequence[Churn], *, seed: int) -> None:
        self._away: list[tuple[int, int]] = []
        self._leaving: list[tuple[int, int, int]] = []
        self._churn = {index: each for each in churn for index in each.listeners}
        self._random = random.Random(seed)

    @property
    def due_ns(self) -> int:
        """When somebody next comes or leaves; far in the future when nobody will."""
        return min((heap[0][0] for heap in (self._away, self._leaving) if heap), default=1 << 62)

    def opened(self, index: int, opened_ns: int, now_ns: int) -> None:
        """A stream is open; its listener may be one that leaves on purpose."""
        if index in self._churn:
            stays_ns = int(self._random.uniform(*self._churn[index].stays_s) * NS)
            heapq.heappush(self._leaving, (now_ns + stays_ns, index, opened_ns))

    def lost(self, index: int, away_s: tuple[float, float], now_ns: int) -> None:
        """A listener is away, and comes back within `away_s` unless its churn says otherwise."""
        low_s, high_s = self._churn[index].away_s if index in self._churn else away_s
        heapq.heappush(self._away, (now_ns + int(self._random.uniform(low_s, high_s) * NS), index))

    def returning(self, now_ns: int) -> Iterator[int]:
        """Listeners that are due back, each once; those not taken stay due."""
        while self._away and self._away[0][0] <= now_ns:
            yield heapq.heappop(self._away)[1]

    def leaving(self, now_ns: int) -> Iterator[tuple[int, int]]:
        """Listeners that are due to leave, and when the stream was opened that they leave."""
        while self._leaving and self._leaving[0][0] <= now_ns:
            _, index, opened_ns = heapq.heappop(self._leaving)
            yield index, opened_ns
