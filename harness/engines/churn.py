"""When listeners leave and come back, and how long it takes after a storm. No sockets, no clock."""

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.measure.series import Second

NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Churn:
    """Listeners that leave on purpose: how long they stay and then stay away.

    They resume, or, with `others_come`, new ones take their places, which know nothing.
    """

    listeners: range
    stays_s: tuple[float, float]
    away_s: tuple[float, float]
    others_come: bool = False


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

    def replaces(self, index: int) -> bool:
        """Whether another listener comes when this one leaves on purpose."""
        return index in self._churn and self._churn[index].others_come

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


LOOK_EVERY_NS = 10_000_000


class Recovery:
    """How long listeners take to be back after all streams were cut, and to have what they missed.

    A listener is in it from the cut until it has caught up: what it is sent meanwhile is late by
    our doing.
    """

    def __init__(self, second_now: Callable[[], Second]) -> None:
        self._second_now = second_now
        self._cut_ns: dict[int, int] = {}
        self._goals: dict[int, int] = {}
        self._next_look_ns = 0

    def __len__(self) -> int:
        return len(self._cut_ns)

    def __contains__(self, index: int) -> bool:
        return index in self._cut_ns

    def cut(self, index: int, now_ns: int) -> None:
        """A listener's stream was cut."""
        self._second_now().counters["storm_cut"] += 1
        self._cut_ns.setdefault(index, now_ns)

    def lost(self, index: int) -> None:
        """The stream ended again before its listener had caught up."""
        self._goals.pop(index, None)

    def back(self, index: int, now_ns: int, goal: int | None) -> None:
        """A stream is open, maybe again. With a `goal` its listener has caught up once its cursor
        stands there."""
        if index not in self._cut_ns:
            return
        self._record("reconnect", now_ns - self._cut_ns[index])
        if goal is None:
            del self._cut_ns[index]
        else:
            self._goals[index] = goal

    def look(self, cursor: Sequence[int], now_ns: int) -> None:
        """Note who has caught up since the last look."""
        if not self._goals or now_ns < self._next_look_ns:
            return
        self._next_look_ns = now_ns + LOOK_EVERY_NS
        for index in [i for i, goal in self._goals.items() if cursor[i] >= goal]:
            del self._goals[index]
            self._record("catch_up", now_ns - self._cut_ns.pop(index))

    def _record(self, histogram: str, took_ns: int) -> None:
        second = self._second_now()
        second.histograms[histogram].record(took_ns // 1000)
        second.counters[f"{histogram}s"] += 1
