"""The chaos fault that takes MySQL's last changes back: exact, and known row by row."""

import uuid
from collections.abc import AsyncIterator

import pytest_asyncio

from harness.chaos.lost_changes import loss_of, take_back
from tests.support.ledgers import LedgerBench, opened_ledger, submission


@pytest_asyncio.fixture
async def bench(mysql_url: str) -> AsyncIterator[LedgerBench]:
    async with opened_ledger(mysql_url, users=5) as opened:
        yield opened


async def test_the_last_changes_are_gone_and_known_and_can_come_again(bench: LedgerBench) -> None:
    kept_items = [submission(1, 10), submission(2, 20)]
    lost_items = [submission(1, 5), submission(3, 7), submission(1, -2)]
    await bench.record(*kept_items)
    [(before,)] = await bench.rows("SELECT seq FROM boards")
    users = await bench.rows("SELECT id, score, seq FROM users ORDER BY id")
    recorded = await bench.record(*lost_items)

    kept, rows = take_back(bench.mysql_url, len(lost_items))

    assert kept == before
    assert await bench.rows("SELECT seq FROM boards") == [(before,)]
    assert await bench.rows("SELECT id, score, seq FROM users ORDER BY id") == users
    assert [(r.seq, r.user, r.score_after) for r in rows] == [
        (c.seq, c.user_id, c.score) for c in recorded.changes
    ]
    assert [row[0] for row in loss_of(kept, rows)["rows"]] == [
        str(uuid.UUID(bytes=item.id)) for item in lost_items
    ]
    await bench.reconcile(kept_items)
    await bench.record(*lost_items)
    await bench.reconcile(kept_items, lost_items)


async def test_no_more_is_lost_than_the_history_has(bench: LedgerBench) -> None:
    first = submission(1, 10)
    await bench.record(first)

    kept, rows = take_back(bench.mysql_url, 1_000)

    assert (kept, len(rows)) == (0, 1)
    assert take_back(bench.mysql_url, 1_000) == (0, [])
    await bench.reconcile()
