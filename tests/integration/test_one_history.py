"""A ledger that lost changes is found by the identity of the last one, never by its number alone.

On MySQL and Redis. What listeners and readers see of it: `test_histories_seen`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from scoreboard import contract
from scoreboard.domain import Change
from tests.support.boards import BoardBench, opened_board
from tests.support.failovers import LOST, USERS, fail_over
from tests.support.ledgers import LedgerBench, opened_ledger, submission

ROUNDS = 20


@pytest_asyncio.fixture
async def bench(mysql_url: str) -> AsyncIterator[LedgerBench]:
    async with opened_ledger(mysql_url, users=USERS) as opened:
        yield opened


async def show(board: BoardBench, *users: int, points: int = 1) -> list[Change]:
    recorded = await board.bench.record(*(submission(user, points) for user in users))
    await board.board.publish(recorded.last_seq, recorded.run)
    return recorded.changes


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("noticed_by", ["publish", "look"])
@pytest.mark.parametrize("script", sorted(LOST))
async def test_every_lossy_failover_is_noticed_at_once(
    bench: LedgerBench, redis_url: str, script: str, noticed_by: str, processes: int
) -> None:
    async with AsyncExitStack() as stack:
        boards = [
            await stack.enter_async_context(opened_board(bench, redis_url))
            for _ in range(processes)
        ]
        await boards[0].board.repair()
        shown: dict[int, Change] = {}
        for number in range(ROUNDS):
            # In two batches, so that the tip is of another one than the changes before it.
            for users in ((1, 2, 3), (131, 132, 133)):
                changes = await show(boards[number % processes], *users, points=9)
                shown |= {change.seq: change for change in changes}
            before = await bench.ledger.board()

            await fail_over(bench.pool, script)
            if noticed_by == "publish":
                await show(boards[(number + 1) % processes], 4)
            else:
                await asyncio.gather(*(board.board.repair() for board in boards))

            after = await bench.ledger.board()
            assert after.incarnation != before.incarnation
            assert after.starts_after > max(before.seq, *shown)
            await boards[0].agrees()
            # Where the last batch was recorded before the history ended, and shown after it.
            new = await show(boards[number % processes], 5)
            assert {change.seq for change in new}.isdisjoint(shown)
            await boards[0].agrees()


async def test_two_changes_of_one_number_have_two_identities(bench: LedgerBench) -> None:
    recorded = await bench.record(submission(131), submission(132), submission(133))
    await fail_over(bench.pool, "splice")

    spliced = (await bench.changes())[: len(recorded.changes)]

    assert [c.seq for c in spliced] == [c.seq for c in recorded.changes]
    identities = {contract.change_identity(c) for c in (*spliced, *recorded.changes)}
    assert len(identities) == 2 * len(spliced)


async def test_a_ledger_that_goes_on_keeps_its_history(bench: LedgerBench, redis_url: str) -> None:
    async with opened_board(bench, redis_url) as board:
        await board.board.repair()
        before = await bench.ledger.board()
        for _ in range(5):
            await show(board, 1, 2, 3)
            await board.board.repair()
            await bench.record(submission(7))
            await board.board.repair()

        after = await bench.ledger.board()

    assert (after.incarnation, after.starts_after) == (before.incarnation, 0)


async def test_a_read_from_an_old_server_begins_no_history(
    bench: LedgerBench, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a read under the board's lock may say that the ledger was set back."""
    async with opened_board(bench, redis_url) as board:
        await board.board.repair()
        old = await bench.ledger.board()
        await show(board, 1, 2, 3)
        with monkeypatch.context() as patched:

            async def stale(*, durable: bool = False) -> object:
                del durable
                return old

            patched.setattr(bench.ledger, "board", stale)
            await board.board.repair()

        assert (await bench.ledger.board()).incarnation == old.incarnation
        await board.board.repair()
        await board.agrees()


async def test_a_position_that_only_an_api_process_has_shown_ends_the_history(
    bench: LedgerBench, redis_url: str
) -> None:
    """Redis lost its data and MySQL its last changes: only who showed them can tell."""
    async with opened_board(bench, redis_url) as board:
        await board.board.repair()
        changes = await show(board, *range(1, 9))
        before = await bench.ledger.board()
        await fail_over(bench.pool, "back")
        await board.redis.flushdb()
        await board.board.repair()
        assert (await bench.ledger.board()).incarnation == before.incarnation

        tip = contract.change_identity(changes[-1])
        claim = f"{before.incarnation} {changes[-1].seq} {tip}"
        await board.redis.hset(contract.CLAIMS_KEY, "api", claim)
        await board.board.repair()

        after = await bench.ledger.board()
        assert after.starts_after > changes[-1].seq
        assert not await board.redis.exists(contract.CLAIMS_KEY)
        await board.agrees()


async def test_a_claim_that_the_ledger_confirms_changes_nothing(
    bench: LedgerBench, redis_url: str
) -> None:
    async with opened_board(bench, redis_url) as board:
        await board.board.repair()
        changes = await show(board, 1, 2)
        before = await bench.ledger.board()
        tip = contract.change_identity(changes[0])
        claim = f"{before.incarnation} {changes[0].seq} {tip}"
        await board.redis.hset(contract.CLAIMS_KEY, "api", claim)

        await board.board.repair()

        assert await bench.ledger.board() == before
        assert not await board.redis.exists(contract.CLAIMS_KEY)
