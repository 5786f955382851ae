"""Whether MySQL goes on with what Redis has shown: a look at both, on stand-ins."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.ledger_queries import BoardRow, Run
from scoreboard.contract import next_start
from server.board.position import BoardPosition
from server.board.redis_watch import INTERVAL_S, RedisWatch

SHOWN = "7:1:70:100"
OTHER = "7:2:20:101"


class Redis:
    """Shows a position, or has lost it, or is away."""

    def __init__(self) -> None:
        self.meta: Sequence[bytes | None] = (b"7", SHOWN.encode())
        self.away = False

    async def hmget(self, *_: Any) -> Sequence[bytes | None]:
        if self.away:
            raise ConnectionError
        return self.meta


class Ledger:
    """Has a board, and a change at number 7."""

    def __init__(self) -> None:
        self.row = BoardRow(7, "history", tip=SHOWN)
        self.at_seven = SHOWN

    async def board(self) -> BoardRow:
        return self.row

    async def run_after(self, seq: int, limit: int) -> Run:
        assert (seq, limit) == (7, 0)
        return Run(self.at_seven, [])


async def forked(redis: Redis, ledger: Ledger, *, then: Any = None) -> bool:
    position = BoardPosition()
    watch = RedisWatch(redis, ledger, position)  # type: ignore[arg-type]
    running = asyncio.create_task(watch.run())
    await asyncio.sleep(0)
    if then is not None:
        await asyncio.sleep(INTERVAL_S / 2)
        then()
        await asyncio.sleep(INTERVAL_S)
    running.cancel()
    return position.forked


@pytest.mark.parametrize(
    ("row", "at_seven", "expected"),
    [
        (BoardRow(7, "history", tip=SHOWN), SHOWN, False),
        (BoardRow(7, "history", tip=OTHER), OTHER, True),
        (BoardRow(9, "history", tip="9:3:1:200"), SHOWN, False),
        (BoardRow(9, "history", tip="9:3:1:200"), OTHER, True),
        # Redis was read later, and is ahead of the board that was read.
        (BoardRow(6, "history", tip="6:1:60:99"), "", False),
        # A worker has begun another history.
        (BoardRow(next_start(7), "new", next_start(7)), OTHER, False),
    ],
)
async def test_another_change_under_a_shown_number_is_a_fork(
    row: BoardRow, at_seven: str, expected: bool
) -> None:
    ledger = Ledger()
    ledger.row, ledger.at_seven = row, at_seven

    assert await forked(Redis(), ledger) is expected


async def test_what_redis_showed_is_remembered_while_it_is_away() -> None:
    redis, ledger = Redis(), Ledger()

    def lost() -> None:
        redis.away = True
        ledger.row, ledger.at_seven = BoardRow(9, "history", tip="9:3:1:200"), OTHER

    assert await forked(redis, ledger, then=lost)


async def test_a_position_without_identity_says_nothing() -> None:
    redis, ledger = Redis(), Ledger()
    redis.meta = (b"7", b"6:1:60:99")
    ledger.row, ledger.at_seven = BoardRow(9, "history", tip="9:3:1:200"), OTHER

    assert not await forked(redis, ledger)


@pytest.mark.parametrize(
    "meta",
    [(b"abc", b"abc:1"), (b"", b":"), (b"-1", None), (b"7", b"7:\xff"), (b"7.0", b"7.0:1:70:100")],
)
async def test_what_somebody_else_wrote_into_redis_ends_nothing(
    meta: Sequence[bytes | None],
) -> None:
    redis, position = Redis(), BoardPosition()
    redis.meta = meta
    watch = RedisWatch(redis, Ledger(), position)  # type: ignore[arg-type]

    running = asyncio.create_task(watch.run())
    await asyncio.sleep(INTERVAL_S / 2)

    assert not running.done()
    running.cancel()
