"""The keepers of the board and of the schedule go on whatever a look raises, and say each
trouble once.
"""

import asyncio
from typing import Any

import pytest
import redis.exceptions
from structlog.testing import capture_logs
from temporalio.service import RPCError, RPCStatusCode

from scoreboard.backoff import Backoff
from scoreboard.settings import from_mapping
from tests.support.eventually import eventually
from worker import runtime
from worker.runtime import _keep_repaired, _keep_scheduled
from worker.settings import WorkerSettings


class BoardOf:
    """Raises the given errors one after the other, then repairs."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.repaired = 0

    async def repair(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.repaired += 1


async def kept(board: Any, looks: int) -> list[str]:
    """The events logged until the board was repaired so often."""
    with capture_logs() as logs:
        keeper = asyncio.create_task(_keep_repaired(board, 0.001))
        await eventually(lambda: board.repaired >= looks, interval_s=0.001)
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


async def test_the_schedule_is_looked_at_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    away = RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
    answers: list[Exception | None] = [None, away, away, ValueError("defect"), None, None]

    async def ensure(*_: object, **__: object) -> None:
        if answers and (error := answers.pop(0)) is not None:
            raise error

    async def reopen(*_: object, **__: object) -> int:
        return 0

    monkeypatch.setattr(runtime, "ensure_schedule", ensure)
    monkeypatch.setattr(runtime, "reopen_cases", reopen)
    monkeypatch.setattr(runtime, "SCHEDULE_LOOK_S", 0.001)
    monkeypatch.setattr("scoreboard.backoff.REFRESH_SCHEDULE", Backoff(first_s=0.001))
    client: Any = None
    settings = from_mapping(
        WorkerSettings,
        {
            "SCOREBOARD_MYSQL_URL": "mysql://u:p@127.0.0.1:1/board",
            "SCOREBOARD_REDIS_URL": "redis://127.0.0.1:1",
            "SCOREBOARD_TEMPORAL_ADDRESS": "127.0.0.1:1",
        },
    )

    with capture_logs() as logs:
        keeper = asyncio.create_task(_keep_scheduled(client, settings, client))
        await eventually(lambda: not answers, interval_s=0.001)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)

    assert [entry["log_level"] for entry in logs] == ["warning", "error"]
