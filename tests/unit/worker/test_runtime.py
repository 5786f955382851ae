"""The keeper of the board goes on whatever a look at it raises, and says each trouble once."""

import asyncio
from typing import Any

import redis.exceptions
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from worker.runtime import _keep_healed


class BoardOf:
    """Raises the given errors one after the other, then heals."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.healed = 0

    async def heal(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.healed += 1


async def kept(board: Any, looks: int) -> list[str]:
    """The events logged until the board was healed so often."""
    with capture_logs() as logs:
        keeper = asyncio.create_task(_keep_healed(board, 0.001))
        await eventually(lambda: board.healed >= looks, interval_s=0.001)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
    return [entry["event"] for entry in logs]


async def test_a_backend_that_is_away_is_said_once_and_its_return_too() -> None:
    away = [redis.exceptions.ConnectionError(), TimeoutError(), OSError()]

    assert await kept(BoardOf(*away), looks=3) == ["board_out_of_reach", "board_reachable_again"]


async def test_a_defect_is_logged_and_does_not_end_the_keeper() -> None:
    assert await kept(BoardOf(AssertionError("gap")), looks=2) == ["board_not_healed"]


async def test_a_quiet_keeper_says_nothing() -> None:
    assert await kept(BoardOf(), looks=5) == []
