"""Submissions that wait for a batch, in one line per principal, so that nobody waits for another's
excess. Pure.

Batches are filled in turns, one from each line; within a line the order is that of arrival. What
a principal may hold at a time follows the dynamic threshold of shared buffers (Choudhury and
Hahne, 1998): no more than is still free. A single one gets half of the queue, two a third each,
and a newcomer always finds room.
"""

from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What waits; `since` is when it came, by the clock of the deadline."""

    @property
    def since(self) -> float:
        """When it came."""

    @property
    def principal(self) -> str:
        """Whose it is."""


T = TypeVar("T", bound=Waiting)


class FairQueue(Generic[T]):
    """The lines. `alone_max` bounds one principal's part of a batch while others are active."""

    def __init__(self, *, alone_max: int) -> None:
        self._lines: dict[str, deque[T]] = {}
        self._length = 0
        self._alone_max = alone_max
        # The only principal of the last batch; None when it had several, or there was none.
        self._only: str | None = None

    def __len__(self) -> int:
        return self._length

    def append(self, item: T) -> None:
        """Wait at the end of the principal's line."""
        line = self._lines.get(item.principal)
        if line is None:
            line = self._lines[item.principal] = deque()
        line.append(item)
        self._length += 1

    def take(self, most: int) -> list[T]:
        """The next batch, at most `most`: each line in turn, the longest waiting line first.

        Nobody's excess makes the batch of others large, and so slow: beyond `alone_max` a
        principal's items wait for the next one, unless the last batch was all its own.
        """
        lines = self._lines
        each_max = (
            most if self._only is not None and list(lines) == [self._only] else self._alone_max
        )
        batch: list[T] = []
        turn = 0
        principals = list(lines)
        while len(batch) < most and principals and turn < each_max:
            turn += 1
            for principal in principals:
                line = lines[principal]
                batch.append(line.popleft())
                if not line:
                    del lines[principal]
                if len(batch) == most:
                    break
            principals = [principal for principal in principals if principal in lines]
        # Who was served goes to the end, so that a full batch does not favour the first again.
        for principal in {item.principal: None for item in batch}:
            if principal in lines:
                lines[principal] = lines.pop(principal)
        self._length -= len(batch)
        owners = {item.principal for item in batch}
        self._only = owners.pop() if len(owners) == 1 else None
        return batch

    def expired(self, before: float) -> Iterator[T]:
        """Take out what came before that time."""
        for principal, line in list(self._lines.items()):
            while line and line[0].since < before:
                self._length -= 1
                yield line.popleft()
            if not line:
                del self._lines[principal]

    def clear(self) -> list[T]:
        """Take out everything."""
        left = [item for line in self._lines.values() for item in line]
        self._lines.clear()
        self._length = 0
        return left


class Shares:
    """How much each principal holds of something bounded."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._held: dict[str, int] = {}
        self.held = 0

    @property
    def full(self) -> bool:
        """Whether nothing is left for anybody."""
        return self.held >= self._total

    def may_take(self, principal: str) -> bool:
        """Whether the principal's part is within what is still free."""
        return self._held.get(principal, 0) < self._total - self.held

    def take(self, principal: str) -> None:
        """One more."""
        self.held += 1
        self._held[principal] = self._held.get(principal, 0) + 1

    def give_back(self, principal: str, count: int) -> None:
        """So many fewer."""
        self.held -= count
        left = self._held[principal] - count
        if left:
            self._held[principal] = left
        else:
            del self._held[principal]
