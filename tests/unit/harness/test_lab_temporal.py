"""What Temporal lost with its files is read from them, and nothing but batches counts."""

import json
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload, Payloads, WorkflowType
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.history.v1 import (
    History,
    HistoryEvent,
    MarkerRecordedEventAttributes,
    WorkflowExecutionSignaledEventAttributes,
    WorkflowExecutionStartedEventAttributes,
)

from harness.lab.faults.temporal import batches
from scoreboard import contract, ids
from scoreboard.domain import Submission

RUNNING = Status.WORKFLOW_EXECUTION_STATUS_RUNNING
COMPLETED = Status.WORKFLOW_EXECUTION_STATUS_COMPLETED

Write = Callable[..., None]


def batch(name: str) -> Payload:
    """One submission, whose id is the name."""
    item = Submission(
        id=name.encode().ljust(16), principal="1", user_id=1, increment=5, received_us=0
    )
    return Payload(data=contract.encode_batch([item]))


def packed(value: object) -> Payload:
    return Payload(data=json.dumps(value).encode())


def begun(kind: str, *payloads: Payload) -> HistoryEvent:
    return HistoryEvent(
        workflow_execution_started_event_attributes=WorkflowExecutionStartedEventAttributes(
            workflow_type=WorkflowType(name=kind), input=Payloads(payloads=payloads)
        )
    )


def taken(name: str) -> HistoryEvent:
    payloads = [batch(name), packed(name), packed(False)]
    return HistoryEvent(
        workflow_execution_signaled_event_attributes=WorkflowExecutionSignaledEventAttributes(
            signal_name=contract.LANE_TAKE, input=Payloads(payloads=payloads)
        )
    )


def ended(result: object, activity: str = "carry_together") -> HistoryEvent:
    details = {
        "result": Payloads(payloads=[packed(result)]),
        "data": Payloads(payloads=[packed({"activity_type": activity})]),
    }
    return HistoryEvent(
        marker_recorded_event_attributes=MarkerRecordedEventAttributes(
            marker_name="core_local_activity", details=details
        )
    )


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The tables, as far as they are read."""
    database = tmp_path / "temporal.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in (
            "executions (workflow_id, run_id, next_event_id INT)",
            "current_executions (workflow_id, run_id, status INT)",
            "history_node (tree_id, node_id INT, txn_id INT, data BLOB)",
            "buffered_events (run_id, data BLOB)",
        ):
            connection.execute(f"CREATE TABLE {table}")
    return database


@pytest.fixture
def write(files: Path) -> Write:
    """Adds a run of a workflow: each event is a piece of its history, those `written` count."""

    def add(
        workflow: str,
        status: Status.ValueType | None,
        *history: HistoryEvent,
        written: int = 100,
        buffered: tuple[HistoryEvent, ...] = (),
    ) -> None:
        run = uuid.uuid4().bytes
        with closing(sqlite3.connect(files)) as connection, connection:
            put = connection.execute
            put("INSERT INTO executions VALUES (?, ?, ?)", (workflow, run, written + 1))
            if status is not None:
                values = (workflow, run, int(status))
                put("INSERT INTO current_executions VALUES (?, ?, ?)", values)
            for number, event in enumerate(history, start=1):
                data = History(events=[event]).SerializeToString()
                put("INSERT INTO history_node VALUES (?, ?, -1, ?)", (run, number, data))
            for event in buffered:
                data = History(events=[event]).SerializeToString()
                put("INSERT INTO buffered_events VALUES (?, ?)", (run, data))

    return add


def found(files: Path, *, running: bool = False) -> dict[str, list[str]]:
    """The batches in the files, by the names in their submissions."""
    prefix = contract.batch_workflow_id("")
    return {
        name.removeprefix(prefix): [ids.parse(sid).decode().strip() for sid in sids]
        for name, sids in batches(files, running=running).items()
    }


def test_a_batch_that_has_not_ended_is_told_from_one_that_has(files: Path, write: Write) -> None:
    write("batch-ended", COMPLETED, begun(contract.BATCH_WORKFLOW, batch("ended")))
    write("batch-runs", RUNNING, begun(contract.BATCH_WORKFLOW, batch("runs")), ended({}, "carry"))
    write("refresh-scoreboard", RUNNING, begun("BoardRefresh"), ended(7, "refresh"))

    assert found(files) == {"ended": ["ended"], "runs": ["runs"]}
    assert set(found(files, running=True)) == {"runs"}


def test_a_lane_has_not_ended_what_no_call_returned(files: Path, write: Write) -> None:
    history = (begun(contract.LANE_WORKFLOW), taken("a"), taken("b"), ended(["b"]), taken("c"))
    write("lane-1", RUNNING, *history, buffered=(taken("d"),))

    assert found(files) == {name: [name] for name in "abcd"}
    assert set(found(files, running=True)) == set("acd")


def test_a_lane_that_has_ended_has_no_unfinished_batches(files: Path, write: Write) -> None:
    write("lane-1", COMPLETED, taken("in its last run"))
    write("lane-1", None, taken("in one before"))

    assert len(found(files)) == 2
    assert found(files, running=True) == {}


@pytest.mark.parametrize("lane", [RUNNING, COMPLETED])
def test_a_batch_that_left_its_lane_is_as_far_as_its_own_workflow(
    files: Path, write: Write, lane: Status.ValueType
) -> None:
    write("lane-1", lane, taken("runs"), taken("ended"), ended([]))
    write("batch-runs", RUNNING, begun(contract.BATCH_WORKFLOW, batch("runs")))
    write("batch-ended", COMPLETED, begun(contract.BATCH_WORKFLOW, batch("ended")))

    assert set(found(files, running=True)) == {"runs"}


def test_a_piece_of_history_that_no_state_counts_is_not_read(files: Path, write: Write) -> None:
    write("lane-1", RUNNING, taken("a"), taken("b"), written=1)

    assert set(found(files)) == {"a"}
