"""Marks in Redis that no program of ours writes: the worker takes them for a loss, and heals it."""

from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import pytest
import pytest_asyncio

from adapters.redis import connect
from scoreboard import contract
from server.settings import ServerSettings
from tests.support.api import running_api
from tests.support.boards import BoardBench, opened_board
from tests.support.ledgers import opened_ledger, submission
from worker.board.redis_board import RebuildFailed

MARKS = ("seq", "tail", "tip", "incarnation", "epoch", "users", "entries", "foreign")
VALUES = (
    *(b"", b"abc", b"\xff\xfe", b"-1", b"0", b" 6", b"06", b"6_0", b"6.0", b"1e3", b"0x10", b"nan"),
    *("²".encode(), b"9" * 15, b"9" * 16, b"9" * 18, b"9" * 30, b"9" * 5000),
    *(b"6:\xff", b"6:1:1:1", b"\xff:1:1:1"),
)
CLAIMS = (
    *(b"", b"abc", b"\xff\xfe", "a ² b".encode(), b"a %b b" % (b"9" * 5000)),
    *(b"a 9 9:1:1:1\xff", b"a %b b" % (b"9" * 16)),
)


@pytest_asyncio.fixture
async def board(mysql_url: str, redis_url: str) -> AsyncIterator[BoardBench]:
    async with opened_ledger(mysql_url) as bench, opened_board(bench, redis_url) as opened:
        await opened.board.repair()
        await _publish(opened)
        yield opened


async def _publish(board: BoardBench) -> None:
    recorded = await board.bench.record(submission(1, 1), submission(2, 1))
    await board.board.publish(recorded.last_seq, recorded.run)


async def _refresh(board: BoardBench) -> None:
    # It leaves to the next look what it cannot tell from another history.
    with suppress(RebuildFailed):
        await board.board.refresh(lambda: None)


async def _look(board: BoardBench) -> None:
    await board.board.repair()


@pytest.mark.parametrize("mark", MARKS)
async def test_a_foreign_mark_is_healed_by_two_looks_whatever_sees_it_first(
    board: BoardBench, mark: str
) -> None:
    for value in VALUES:
        for step in (_publish, _look, _refresh):
            fields = {mark: value}
            if mark == "seq":
                # With the identity of its position, as if both were ours.
                fields["tip"] = value + b":1:1:1"
            await board.redis.hset(contract.META_KEY, mapping=fields)

            await step(board)
            await board.board.repair()
            await board.board.repair()

            await board.agrees()
            await _publish(board)
            await board.agrees()
            assert (await board.bench.ledger.board()).seq < contract.MAX_POSITION


async def test_a_claim_that_nobody_can_have_shown_is_dropped(board: BoardBench) -> None:
    for claim in CLAIMS:
        await board.redis.hset(contract.CLAIMS_KEY, "stranger", claim)
        await board.board.repair()

        assert not await board.redis.exists(contract.CLAIMS_KEY)
        await board.agrees()
        assert (await board.bench.ledger.board()).seq < contract.MAX_POSITION


async def test_reads_of_marks_and_lines_that_nobody_can_read_come_from_mysql(
    settings: ServerSettings,
) -> None:
    positions = [value for value in VALUES if contract.position_of(value) is None]
    member = contract.ranking_member(1, 0, "Alice")
    async with (
        running_api(settings, embedded_worker=True) as api,
        aclosing(connect(settings.redis)) as connected,
    ):
        client: Any = connected
        await api.submit(1, 10)
        for write in (
            *(("HSET", contract.META_KEY, "seq", value) for value in positions),
            *(("ZADD", contract.RANKING_KEY, score, member) for score in ("-1.5", "-inf")),
            ("ZADD", contract.RANKING_KEY, -9000, b"\0" * 8 + member[8:16] + b"\xff"),
            ("ZADD", contract.RANKING_KEY, -9000, b"short"),
        ):
            await client.execute_command(*write)
            for path in ("/scores?limit=3&offset=0", "/scores/users/1", "/scores/users/2"):
                assert (await api.get(path))[0] == 200, write
