"""What a private Temporal keeps in its file: few indexes, and every search still finds; and each
batch that it has taken."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest_asyncio
from temporalio.client import Client

from harness.lab.faults.temporal import batches, copy_database
from scoreboard import contract, ids
from server.backends.temporal import Workflows
from stack.process import Process
from stack.services import Temporal, start
from stack.services.visibility_indexes import KEPT, TABLE, drop_unread_indexes
from tests.support.eventually import eventually
from tests.support.pipeline import running_pipeline, submission


@pytest_asyncio.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[Temporal, Client]]:
    """A private Temporal that has just started for the first time."""
    service, processes = Temporal(tmp_path), list[Process]()
    await service.prepare()
    try:
        started = await start(
            service, log=tmp_path / "log", on_spawn=lambda process, _: processes.append(process)
        )
        yield service, await Client.connect(service.url(started.port))
    finally:
        for process in processes:
            process.kill()


def indexes(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master"
                " WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
                (TABLE,),
            )
        }


async def test_only_indexes_that_searches_use_are_written_for_each_workflow(
    opened: tuple[Temporal, Client],
) -> None:
    service, client = opened
    await client.start_workflow("kind", id="one", task_queue="queue")
    await client.start_workflow("kind", id="two", task_queue="queue")
    await client.get_workflow_handle("two").terminate()

    async def found(search: str) -> set[str]:
        return {each.id async for each in client.list_workflows(search)}

    async def all_are_listed() -> bool:
        return await found("") == {"one", "two"} and (
            await found('ExecutionStatus = "Terminated"') == {"two"}
        )

    await eventually(all_are_listed)
    assert await found('WorkflowType = "kind" AND ExecutionStatus = "Running"') == {"one"}
    assert await found('WorkflowId = "two"') == {"two"}
    assert await found('TaskQueue = "queue"') == {"one", "two"}
    assert await found("HistoryLength < 9") == {"two"}
    assert indexes(service.database) == KEPT
    assert drop_unread_indexes(service.database) == 0


async def test_batches_that_have_not_ended_are_read_from_the_file(
    opened: tuple[Temporal, Client],
    mysql_url: str,
    redis_url: str,
    task_queue: str,
    tmp_path: Path,
) -> None:
    service, client = opened
    failpoints, copy = tmp_path / "failpoints", tmp_path / "copy.db"
    workflows = Workflows(client, task_queue)
    taken = {}

    async def hand_over(name: str) -> None:
        item = submission()
        taken[contract.batch_workflow_id(name)] = [ids.text(item.id)]
        await workflows.start(name, contract.encode_batch([item]), timeout_s=5)

    async with running_pipeline(
        client,
        mysql_url=mysql_url,
        redis_url=redis_url,
        task_queue=task_queue,
        failpoints=str(failpoints),
    ) as pipeline:

        async def listed(kind: str) -> bool:
            return [each async for each in client.list_workflows(f"WorkflowType = '{kind}'")] != []

        async def all_have_ended() -> bool:
            return await listed(contract.LANE_WORKFLOW) and await workflows.running() == set()

        async def one_left_its_lane() -> bool:
            return await listed(contract.BATCH_WORKFLOW)

        async def all_are_recorded() -> bool:
            return await pipeline.rows("SELECT COUNT(*) FROM ledger") == [(len(taken),)]

        await hand_over("ended")
        await eventually(all_have_ended)
        failpoints.write_text("publish.before 1000 raise\n")
        await hand_over("alone")
        await eventually(one_left_its_lane)
        failpoints.write_text("publish.before 1000 sleep:3000\n")
        await hand_over("carried")
        await eventually(all_are_recorded)
        await hand_over("waits")
        await asyncio.to_thread(copy_database, service.database, copy)
        failpoints.write_text("")

    assert batches(copy) == taken
    unfinished = {contract.batch_workflow_id(name) for name in ("alone", "carried", "waits")}
    assert batches(copy, running=True).keys() == unfinished
    with closing(sqlite3.connect(copy)) as connection:
        # Else the last one would prove less.
        assert connection.execute("SELECT COUNT(*) FROM buffered_events").fetchone() == (1,)


def test_no_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    assert drop_unread_indexes(tmp_path / "temporal.db") == 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "temporal.db"
    file.write_bytes(b"x" * 5000)

    assert drop_unread_indexes(file) == 0
    assert file.read_bytes() == b"x" * 5000
