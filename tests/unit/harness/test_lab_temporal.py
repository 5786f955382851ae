"""What Temporal lost with its files is read from them, and nothing but batches counts."""

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.history.v1 import History, HistoryEvent, WorkflowExecutionStartedEventAttributes

from harness.lab.faults.temporal import batches
from scoreboard import contract, ids
from scoreboard.domain import Submission

RUNNING = Status.WORKFLOW_EXECUTION_STATUS_RUNNING
COMPLETED = Status.WORKFLOW_EXECUTION_STATUS_COMPLETED


def begun(*names: bytes) -> bytes:
    """The first piece of the history of a batch."""
    batch = contract.encode_batch(
        [
            Submission(id=name, principal="1", user_id=1, increment=5, received_us=0)
            for name in names
        ]
    )
    started = WorkflowExecutionStartedEventAttributes(
        input=Payloads(payloads=[Payload(data=batch)])
    )
    event = HistoryEvent(event_id=1, workflow_execution_started_event_attributes=started)
    return History(events=[event, HistoryEvent(event_id=2)]).SerializeToString()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The two tables, as far as they are read."""
    database = tmp_path / "temporal.db"
    rows = [
        (contract.batch_workflow_id("ended"), COMPLETED, begun(b"a" * 16)),
        (contract.batch_workflow_id("on its way"), RUNNING, begun(b"b" * 16, b"c" * 16)),
        ("refresh-scoreboard", RUNNING, History().SerializeToString()),
    ]
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE current_executions (workflow_id, run_id, status INT)")
        connection.execute("CREATE TABLE history_node (tree_id, node_id INT, data BLOB)")
        for workflow, status, data in rows:
            run = uuid.uuid4().bytes
            connection.execute(
                "INSERT INTO current_executions VALUES (?, ?, ?)", (workflow, run, int(status))
            )
            connection.execute("INSERT INTO history_node VALUES (?, 1, ?)", (run, data))
            connection.execute("INSERT INTO history_node VALUES (?, 3, ?)", (run, b"later"))
    return database


def test_every_batch_in_the_files_is_known_with_its_submissions(files: Path) -> None:
    assert batches(files) == {
        contract.batch_workflow_id("ended"): [ids.text(b"a" * 16)],
        contract.batch_workflow_id("on its way"): [ids.text(b"b" * 16), ids.text(b"c" * 16)],
    }


def test_a_batch_that_has_not_ended_is_told_from_one_that_has(files: Path) -> None:
    assert list(batches(files, running=True)) == [contract.batch_workflow_id("on its way")]
