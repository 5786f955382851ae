"""Concurrent reads of the board share one read of the backend."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from scoreboard.domain import Standing
from scoreboard.errors import Problem
from server.board.board import Board
from server.board.position import BoardPosition
from server.board.read_order import ReadOrder
from tests.support.eventually import settled


class Redis:
    """Has lost the board."""

    def __init__(self) -> None:
        self.asked = 0

    def register_script(self, _text: str) -> Any:
        async def run(**_arguments: Any) -> None:
            self.asked += 1
            await asyncio.sleep(0)

        return run


class Ledger:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.gate = asyncio.Event()

    async def top(self, limit: int, offset: int) -> tuple[int, Sequence[Standing]]:
        self.asked.append((limit, offset))
        await self.gate.wait()
        return 7, [Standing(user="Alice", score=1)]


class Site:
    """A board on stand-ins."""

    def __init__(self) -> None:
        self.redis, self.ledger, self.now = Redis(), Ledger(), 0.0
        self.position = position = BoardPosition()
        position.seq, position.known = 7, True
        self.board = Board(
            self.redis,  # type: ignore[arg-type]
            self.ledger,  # type: ignore[arg-type]
            position=position,
            order=ReadOrder(position, hold_s=0),
            clock=lambda: self.now,
        )


@pytest.fixture
async def site() -> Site:
    return Site()


async def test_concurrent_callers_share_one_mysql_read(site: Site) -> None:
    callers = [asyncio.create_task(site.board.page(10, 0)) for _ in range(200)]
    await settled()

    site.ledger.gate.set()
    pages = await asyncio.gather(*callers)

    assert {page.seq for page in pages} == {7}
    assert site.ledger.asked == [(10, 0)]
    assert site.redis.asked == 1


async def test_a_caller_that_goes_away_leaves_the_read_to_the_others(site: Site) -> None:
    gone, stays = (asyncio.create_task(site.board.page(10, 0)) for _ in range(2))
    await settled()

    gone.cancel()
    site.ledger.gate.set()

    assert (await stays).seq == 7
    assert site.ledger.asked == [(10, 0)]


async def test_the_default_page_is_kept_until_it_may_be_stale(site: Site) -> None:
    site.ledger.gate.set()
    await site.board.page(10, 0)
    assert site.board.ready_top() is not None

    site.now = 1.0

    assert site.board.ready_top() is None


async def test_other_pages_are_reads_of_their_own(site: Site) -> None:
    site.ledger.gate.set()

    await asyncio.gather(site.board.page(10, 0), site.board.page(5, 0), site.board.page(10, 10))

    assert sorted(site.ledger.asked) == [(5, 0), (10, 0), (10, 10)]


async def test_what_mysql_has_in_place_of_what_was_shown_is_not_served(site: Site) -> None:
    site.ledger.gate.set()
    site.position.forked = True

    with pytest.raises(Problem):
        await site.board.page(10, 0)
    with pytest.raises(Problem):
        await site.board.snapshot()

    site.position.forked = False
    assert (await site.board.page(10, 0)).seq == 7
