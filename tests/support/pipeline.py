"""A running worker on services of a test's own, and what a test asks of it."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowExecution
from temporalio.worker import WorkflowRunner

from adapters.mysql import Pool, query_all
from adapters.redis import connect
from adapters.temporal import TEMPORAL_ERRORS
from scoreboard import contract
from scoreboard.addresses import mysql_address
from scoreboard.domain import Change, Outcome, Submission
from scoreboard.fraud import FraudRules
from scoreboard.players.orders import Order, encode_order
from server.backends.temporal import Workflows, batch_payload
from tests.support.eventually import eventually
from worker.board.redis_board import RedisBoard
from worker.database.ledger import Ledger
from worker.database.seed import seed
from worker.failpoints import Failpoints
from worker.runtime import running_worker
from worker.settings import WorkerSettings
from worker.workflows.player_change import PlayerChange, PlayerChangeResult

ROOT = Path(__file__).resolve().parents[2]


def submission(
    user_id: int = 1, increment: int = 10, *, name: bytes | None = None, received_us: int = 0
) -> Submission:
    """A submission by the user for themselves."""
    return Submission(
        id=name or secrets.token_bytes(16),
        principal=str(user_id),
        user_id=user_id,
        increment=increment,
        received_us=received_us,
    )


async def hand_over(workflows: Workflows, submissions: Sequence[Submission]) -> str:
    """Return the batch's id once Temporal has it."""
    batch_id = secrets.token_hex(8)
    await workflows.start(batch_id, contract.encode_batch(submissions), timeout_s=5)
    return batch_id


async def lanes_of(workflows: Workflows) -> list[WorkflowExecution]:
    """All lanes that Temporal's list shows of a task queue, in the order of their names."""
    query = f"TaskQueue = '{workflows.task_queue}' AND WorkflowType = '{contract.LANE_WORKFLOW}'"
    found = [lane async for lane in workflows.client.list_workflows(query)]
    return sorted(found, key=lambda lane: lane.id)


async def all_ended(workflows: Workflows) -> None:
    """Return once there is a lane, and no batch is under way."""

    async def none() -> bool:
        try:
            # The list is behind, and a lane that it does not show yet is not asked.
            return bool(await lanes_of(workflows)) and not await workflows.running()
        except TEMPORAL_ERRORS:
            # No worker answers for a lane.
            return False

    await eventually(none, timeout_s=30)


class Pipeline:
    """A worker with Alice and Bob in its database."""

    def __init__(self, client: Client, settings: WorkerSettings, pool: Pool, redis: Any) -> None:
        self.client, self.settings, self.pool, self.redis = client, settings, pool, redis

    def board(self) -> RedisBoard:
        """The board in Redis, beside the worker's own object for it."""
        ledger = Ledger(self.pool, Failpoints(""))
        return RedisBoard(self.redis, ledger, stream_entries=self.settings.stream_entries)

    async def run(self, *submissions: Submission) -> None:
        """Carry a batch to its end."""
        await self.client.execute_workflow(
            contract.BATCH_WORKFLOW,
            batch_payload(contract.encode_batch(submissions)),
            id=contract.batch_workflow_id(secrets.token_hex(8)),
            task_queue=self.settings.task_queue,
        )

    async def hand_over(self, *submissions: Submission) -> None:
        """Carry a batch to its end as an API process does: in a lane."""
        workflows = Workflows(self.client, self.settings.task_queue)
        await hand_over(workflows, submissions)
        await all_ended(workflows)

    async def carry_out(self, order: Order) -> PlayerChangeResult:
        """Carry out an order about a player."""
        return await self.client.execute_workflow(
            PlayerChange.run,
            encode_order(order),
            id=contract.player_workflow_id(f"{self.settings.task_queue}-{order.id.hex()}"),
            task_queue=self.settings.task_queue,
        )

    async def hold(self, item: Submission) -> None:
        """Record a submission as held, without the workflow of its case."""
        rules = FraudRules(large_increment=item.increment - 1)
        ledger = Ledger(self.pool, Failpoints(""), rules)
        recorded = await ledger.record([(item, Outcome.APPLIED)])
        assert recorded.held == [item.id]

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows that MySQL answers."""
        async with self.pool.connection() as connection:
            [rows] = await query_all(connection, sql)
            await connection.rollback()
        return rows

    async def ranking(self) -> list[tuple[int, int]]:
        """(user id, score) as Redis ranks them, best first."""
        entries = await self.redis.zrange(contract.RANKING_KEY, 0, -1, withscores=True)
        return [(contract.member_user_id(member), int(-score)) for member, score in entries]

    async def streamed(self) -> list[Change]:
        """All changes that the Redis stream holds."""
        entries = await self.redis.xrange(contract.STREAM_KEY)
        return [c for _, e in entries for c in contract.decode_changes(e[contract.STREAM_FIELD])]


NewWorker = Callable[..., AbstractAsyncContextManager[Pipeline]]
"""`running_pipeline` on services that are chosen already."""


@asynccontextmanager
async def running_pipeline(
    client: Client,
    *,
    mysql_url: str,
    redis_url: str,
    task_queue: str,
    runner: WorkflowRunner | None = None,
    **changes: Any,
) -> AsyncIterator[Pipeline]:
    """A worker that heals every 0.2 s; `changes` go over its settings."""
    settings = replace(
        WorkerSettings(
            mysql=mysql_address(mysql_url),
            redis=redis_url,
            temporal_address="",
            task_queue=task_queue,
            heal_interval_s=0.2,
        ),
        **changes,
    )
    pool = Pool(settings.mysql, size=1)
    redis = connect(settings.redis)
    try:
        async with running_worker(client, settings, runner=runner):
            await seed(pool, 0)
            pipeline = Pipeline(client, settings, pool, redis)
            # The worker may have built the board before the users were there.
            await pipeline.board().rebuild()
            yield pipeline
    finally:
        await redis.aclose()
        await pool.close()


def worker_environment(
    looking: Pipeline, mysql_url: str, task_queue: str, failpoints: Path
) -> dict[str, str]:
    """For a worker process on the services of `looking`, with a queue of its own."""
    return {
        **os.environ,
        "SCOREBOARD_MYSQL_URL": mysql_url,
        "SCOREBOARD_REDIS_URL": looking.settings.redis,
        "SCOREBOARD_TEMPORAL_ADDRESS": looking.client.service_client.config.target_host,
        "SCOREBOARD_TASK_QUEUE": task_queue,
        "SCOREBOARD_FAILPOINTS": str(failpoints),
    }


async def deaths_until(
    finishing: "asyncio.Task[Any]", environment: dict[str, str], log: Path
) -> int:
    """How many workers died, started one after the other until something has finished."""
    deaths = 0
    while not finishing.done():
        async with worker_process(environment, log) as process:
            dying = asyncio.create_task(process.wait())
            done, _ = await asyncio.wait(
                {dying, finishing}, timeout=30, return_when=asyncio.FIRST_COMPLETED
            )
            assert done, log.read_text()[-3000:]
            deaths += dying in done
            dying.cancel()
    await finishing
    return deaths


@asynccontextmanager
async def worker_process(
    environment: dict[str, str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker in a process of its own, told to stop at the end unless it has died."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker", cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 15)
