"""What a board remembers of its own commits. On a real Redis: `integration/test_publish`."""

from collections.abc import Sequence
from typing import Any

from adapters.ledger_queries import BoardRow, Run
from scoreboard import contract
from scoreboard.contract import change_identity
from scoreboard.domain import Change
from tests.unit.scoreboard.arrange import change
from worker.board.redis_board import RECENT_BATCHES, RedisBoard


def run_of(*seqs: int, after: int | None = None) -> Run:
    before = (seqs[0] - 1) if after is None else after
    return Run(change_identity(change(before)), [change(n) for n in seqs])


class Redis:
    """A board at `cursor` that takes whatever follows it."""

    def __init__(self) -> None:
        self.cursor = 0
        self.moved: list[Change] = []

    def register_script(self, _text: str) -> Any:
        async def advance(*, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
            del keys
            if args[1] != self.cursor + 1:
                return [0, self.cursor, change_identity(change(self.cursor)).encode()]
            self.cursor = args[2]
            self.moved += contract.decode_changes(args[3])
            return [1, self.cursor]

        return advance


class Ledger:
    """Has a change for every number, and counts the reads of them."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, int]] = []

    async def board(self) -> BoardRow:
        return BoardRow(10**6, "history")

    async def run_after(self, seq: int, limit: int) -> Run:
        self.reads.append((seq, limit))
        return run_of(*range(seq + 1, seq + 1 + limit), after=seq)


async def site() -> tuple[RedisBoard, Redis, Ledger]:
    redis: Any = Redis()
    ledger: Any = Ledger()
    board = RedisBoard(redis, ledger, stream_entries=10)
    # From its first publish on it knows which history its numbers belong to.
    await board.publish(1)
    ledger.reads.clear()
    return board, redis, ledger


async def test_remembered_batches_are_published_without_reading_their_changes() -> None:
    board, redis, ledger = await site()
    board.remember(run_of(2, 3))
    board.remember(run_of(4))

    # The later one first: it takes the earlier one along.
    await board.publish(4)
    await board.publish(3)

    assert redis.moved == [change(n) for n in (1, 2, 3, 4)]
    # Only that the ledger still has the change where the later batch had brought the board.
    assert ledger.reads == [(4, 0)]


async def test_batches_of_other_workers_are_read_from_the_ledger() -> None:
    board, redis, ledger = await site()

    await board.publish(2)

    assert redis.moved == [change(1), change(2)]
    assert ledger.reads == [(1, 1)]


async def test_only_the_latest_batches_are_remembered() -> None:
    board, _, ledger = await site()
    for seq in range(2, RECENT_BATCHES + 3):
        board.remember(run_of(seq))

    await board.publish(2)
    await board.publish(3)

    assert ledger.reads == [(1, 1)]
