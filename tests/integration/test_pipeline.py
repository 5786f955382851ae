"""A batch from workflow start to the stream, on real services."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio
from temporalio.client import Client

from scoreboard import contract
from scoreboard.domain import Submission
from scoreboard.settings import mysql_address
from worker.board import connect
from worker.mysql import Pool, query_all
from worker.runtime import running_worker
from worker.seed import seed
from worker.settings import WorkerSettings


def submission(user_id: int, increment: int, *, name: bytes | None = None) -> Submission:
    return Submission(
        id=name or secrets.token_bytes(16),
        principal=str(user_id),
        user_id=user_id,
        increment=increment,
        received_us=0,
    )


@pytest_asyncio.fixture
async def pipeline(
    mysql_url: str, redis_url: str, temporal_client: Client, task_queue: str
) -> AsyncIterator["Pipeline"]:
    settings = WorkerSettings(
        mysql=mysql_address(mysql_url),
        redis=redis_url,
        temporal_address="",
        task_queue=task_queue,
        heal_interval_s=0.2,
    )
    async with running_worker(temporal_client, settings):
        pool = Pool(settings.mysql, size=1)
        await seed(pool, 0)
        yield Pipeline(temporal_client, settings, pool)
        await pool.close()


class Pipeline:
    def __init__(self, client: Client, settings: WorkerSettings, pool: Pool) -> None:
        self.client, self.settings, self.pool = client, settings, pool

    async def run(self, *submissions: Submission) -> None:
        await self.client.execute_workflow(
            contract.BATCH_WORKFLOW,
            contract.encode_batch(submissions),
            id=contract.batch_workflow_id(secrets.token_hex(8)),
            task_queue=self.settings.task_queue,
        )

    async def rows(self, sql: str) -> list[tuple[object, ...]]:
        async with self.pool.connection() as connection:
            [rows] = await query_all(connection, sql)
            await connection.rollback()
        return rows

    @asynccontextmanager
    async def redis(self):
        client = connect(self.settings.redis)
        try:
            yield client
        finally:
            await client.aclose()


async def test_a_batch_reaches_ledger_ranking_and_stream(pipeline: Pipeline) -> None:
    await pipeline.run(submission(1, 10), submission(2, 200), submission(99, 5))

    assert await pipeline.rows("SELECT id, score FROM users ORDER BY id") == [(1, 1510), (2, 1600)]
    outcomes = await pipeline.rows("SELECT outcome, seq FROM ledger ORDER BY seq")
    assert outcomes == [("unknown_user", None), ("applied", 1), ("applied", 2)]
    async with pipeline.redis() as redis:
        ranking = await redis.zrange(contract.RANKING_KEY, 0, -1, withscores=True)
        entries = await redis.xrange(contract.STREAM_KEY)
    assert [(contract.member_user_id(member), -score) for member, score in ranking] == [
        (2, 1600.0),
        (1, 1510.0),
    ]
    changes = [c for _, e in entries for c in contract.decode_changes(e[contract.STREAM_FIELD])]
    assert [(change.seq, change.name, change.score) for change in changes] == [
        (1, "Alice", 1510),
        (2, "Bob", 1600),
    ]


async def test_the_same_submission_in_two_batches_counts_once(pipeline: Pipeline) -> None:
    once = submission(1, 10)

    await pipeline.run(once)
    await pipeline.run(once)

    assert await pipeline.rows("SELECT score FROM users WHERE id = 1") == [(1510,)]
