"""What a private Temporal keeps in its file: few indexes, and every search still finds."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest_asyncio
from temporalio.client import Client

from stack.process import Process
from stack.services import Temporal, start
from stack.services.visibility_indexes import KEPT, TABLE, drop_unread_indexes
from tests.support.eventually import eventually


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


def test_no_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    assert drop_unread_indexes(tmp_path / "temporal.db") == 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "temporal.db"
    file.write_bytes(b"x" * 5000)

    assert drop_unread_indexes(file) == 0
    assert file.read_bytes() == b"x" * 5000
