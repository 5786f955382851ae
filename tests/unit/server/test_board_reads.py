"""Reads of the board never go back in time, whatever the page and the backend."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from scoreboard.domain import Standing
from scoreboard.errors import Problem
from server.board.board import Board
from server.board.position import BoardPosition
from server.board.read_order import ReadOrder
from tests.support.eventually import eventually


class Redis:
    """Answers the script that reads a page, at the seq it stands at; None when it is away."""

    def __init__(self) -> None:
        self.seq: int | None = 0

    def register_script(self, _text: str) -> Any:
        async def run(*, keys: Sequence[str], args: Sequence[int]) -> list[Any]:
            assert keys
            assert args
            if self.seq is None:
                raise ConnectionError
            return [b"%d" % self.seq, b"1", b"Alice", b"%d" % -self.seq]

        return run


class Ledger:
    """MySQL, at the seq it stands at; None when it is away."""

    def __init__(self) -> None:
        self.seq: int | None = 0
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def top(self, _limit: int, _offset: int) -> tuple[int, Sequence[Standing]]:
        self.asked += 1
        seq = self.seq
        await self.gate.wait()
        if seq is None:
            raise ConnectionError
        return seq, [Standing(user="Alice", score=seq)]


class Reads:
    """A board on stand-ins, and its position."""

    def __init__(self) -> None:
        self.redis, self.ledger, self.now = Redis(), Ledger(), 0.0
        self.position = BoardPosition()
        self.position.known = True
        self.board = Board(
            self.redis,  # type: ignore[arg-type]
            self.ledger,  # type: ignore[arg-type]
            position=self.position,
            order=ReadOrder(self.position, hold_s=0),
            clock=lambda: self.now,
        )

    async def seq_of(self, limit: int = 10) -> int:
        return (await self.board.page(limit, 0)).seq


@pytest.fixture
def reads() -> Reads:
    return Reads()


async def test_redis_is_not_read_before_the_board_s_position_is_known(reads: Reads) -> None:
    reads.position.known = False
    reads.redis.seq, reads.ledger.seq = 90, 100

    assert await reads.seq_of() == 100

    reads.position.known = True
    reads.redis.seq, reads.now = 101, 5.0
    assert await reads.seq_of() == 101


async def test_redis_behind_a_mysql_page_is_not_read(reads: Reads) -> None:
    reads.redis.seq, reads.ledger.seq = None, 100
    assert await reads.seq_of() == 100
    reads.redis.seq, reads.now = 90, 5.0

    assert await reads.seq_of() == 100


async def test_redis_behind_delivered_events_is_not_read(
    reads: Reads,
) -> None:
    reads.redis.seq, reads.ledger.seq, reads.position.seq = 90, 100, 100

    assert await reads.seq_of() == 100


async def test_when_only_something_older_can_be_read_nothing_is(reads: Reads) -> None:
    reads.redis.seq, reads.ledger.seq, reads.position.seq = 90, None, 100

    with pytest.raises(Problem):
        await reads.seq_of()


async def test_cached_page_is_not_served_after_a_newer_one(reads: Reads) -> None:
    reads.redis.seq = reads.position.seq = 100
    assert await reads.seq_of() == 100
    assert reads.board.ready_top() is not None
    reads.redis.seq = 101
    assert await reads.seq_of(limit=50) == 101

    assert reads.board.ready_top() is None


async def test_a_ledger_that_is_behind_is_not_believed(reads: Reads) -> None:
    """An old server, or one that was set back: a worker finds out which, under a lock."""
    reads.redis.seq = reads.ledger.seq = 100
    assert await reads.seq_of() == 100
    reads.redis.seq = reads.ledger.seq = 40
    reads.now = 1.0

    with pytest.raises(Problem):
        await reads.seq_of()

    # Another history, which begins above all that was shown.
    reads.redis.seq = reads.ledger.seq = 1_000_000
    assert await reads.seq_of() == 1_000_000


async def test_a_replaced_history_leaves_no_page_behind(reads: Reads) -> None:
    reads.redis.seq = reads.ledger.seq = 5000
    assert await reads.seq_of() == 5000
    reads.redis.seq = reads.ledger.seq = 10

    reads.position.history += 1

    assert reads.board.ready_top() is None
    assert (await reads.board.snapshot(10)).seq == 10


async def test_a_read_that_a_replaced_history_overtook_is_read_again(reads: Reads) -> None:
    reads.redis.seq, reads.ledger.seq = None, 5000
    reads.ledger.gate.clear()
    reading = asyncio.create_task(reads.board.snapshot(0))
    await eventually(lambda: reads.ledger.asked == 1, interval_s=0.001)
    reads.ledger.seq = 10

    reads.position.history += 1
    reads.ledger.gate.set()

    assert (await reading).seq == 10
    assert reads.board.ready_top() is None
    assert await reads.seq_of() == 10


async def test_close_ends_the_reads_under_way(reads: Reads) -> None:
    """Each would reopen the connections that are closed after it."""
    reads.redis.seq = None
    reads.ledger.gate.clear()
    read = asyncio.create_task(reads.seq_of())
    await eventually(lambda: reads.ledger.asked == 1)

    await asyncio.wait_for(reads.board.close(), 1)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(read, 1)
    reads.ledger.gate.set()
    assert asyncio.all_tasks() == {asyncio.current_task()}
