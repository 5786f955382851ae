"""Faults of Temporal: wiped, and set back to a copy.

Which submissions it was working on is read from its own files before they go: from the tables that
a start is acknowledged by. Its list of workflows is behind them, and would lack the last ones.
"""

import asyncio
import contextlib
import json
import shutil
import sqlite3
import time
from pathlib import Path

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.history.v1 import History, MarkerRecordedEventAttributes

from harness.chaos.faults import Heal, Injected
from harness.lab.disks import settled
from harness.lab.system import Lab
from scoreboard import contract, ids

# An acknowledged signal is in the history or, while a task of its workflow runs, among the buffered
# events. A piece of a history beyond the next event is of a write that has failed.
_PIECES = """
SELECT workflow_id, status, piece.data
FROM executions
LEFT JOIN current_executions USING (workflow_id, run_id)
JOIN (
  SELECT tree_id AS run_id, node_id, data, MIN(txn_id) FROM history_node GROUP BY tree_id, node_id
  UNION ALL
  SELECT run_id, 0, data, 0 FROM buffered_events
) AS piece USING (run_id)
WHERE node_id < next_event_id
"""


async def temporal_wiped(lab: Lab, outcome: Injected) -> Heal:
    """Temporal comes back with nothing."""
    await lab.machines.kill("temporal")
    unfinished = _unfinished(lab)
    for path in _files(lab):
        path.unlink()
    lab.losses.append(
        {"store": "temporal", "sids": [s for sids in unfinished.values() for s in sids]}
    )
    outcome.proof = f"the database's files deleted; {len(unfinished)} batches were unfinished"

    async def heal() -> None:
        lab.machines.start("temporal")
        await lab.until_up()

    return heal


async def temporal_restored(lab: Lab, outcome: Injected) -> Heal:
    """Temporal comes back as it was some seconds ago."""
    copy = lab.folder / "temporal-copy.db"
    copy.unlink(missing_ok=True)
    await asyncio.to_thread(copy_database, _database(lab), copy)
    taken_s = time.time()

    async def heal() -> None:
        await lab.machines.kill("temporal")
        age_s = time.time() - taken_s
        known = batches(copy)
        lost = {w: sids for w, sids in _unfinished(lab).items() if w not in known}
        for path in _files(lab):
            path.unlink()
        shutil.move(copy, _database(lab))
        settled(lab.site.store("temporal"))
        lab.machines.start("temporal")
        lab.losses.append(
            {"store": "temporal", "sids": [s for sids in lost.values() for s in sids]}
        )
        outcome.proof = f"a copy {age_s:.0f} s old; {len(lost)} unfinished batches are not in it"
        await lab.until_up()

    return heal


def _database(lab: Lab) -> Path:
    return lab.site.store("temporal") / "temporal.db"


def _files(lab: Lab) -> list[Path]:
    return list(lab.site.store("temporal").glob("temporal.db*"))


def copy_database(source: Path, copy: Path) -> None:
    """Copy the database of a server that may run."""
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
        contextlib.closing(sqlite3.connect(copy)) as new,
    ):
        old.backup(new)


def _unfinished(lab: Lab) -> dict[str, list[str]]:
    return batches(_database(lab), running=True)


def batches(database: Path, *, running: bool = False) -> dict[str, list[str]]:
    """The submissions of each batch that the files of a Temporal server have, by the id of the
    workflow that carries it or would do so; with `running` those of the batches that have not
    ended. The server must not run. Raises sqlite3.Error."""
    found: dict[str, list[str]] = {}
    in_lane: dict[str, bool] = {}
    alone: dict[str, bool] = {}
    ended: set[str] = set()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for workflow, status, piece in connection.execute(_PIECES):
            runs = status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING
            for event in History.FromString(piece).events:
                started = event.workflow_execution_started_event_attributes
                signal = event.workflow_execution_signaled_event_attributes
                if started.workflow_type.name == contract.BATCH_WORKFLOW:
                    found[workflow] = _submissions(started.input)
                    alone[workflow] = runs
                elif signal.signal_name == contract.LANE_TAKE:
                    batch = contract.batch_workflow_id(json.loads(signal.input.payloads[1].data))
                    found[batch] = _submissions(signal.input)
                    in_lane[batch] = runs
                else:
                    ended.update(_ended(event.marker_recorded_event_attributes))
    # One that has left its lane is as far as its own workflow.
    runs_on = {batch: runs and batch not in ended for batch, runs in in_lane.items()} | alone
    return {batch: sids for batch, sids in found.items() if runs_on[batch] or not running}


def _submissions(given: Payloads) -> list[str]:
    return [ids.text(item.id) for item in contract.decode_batch(given.payloads[0].data)]


def _ended(marker: MarkerRecordedEventAttributes) -> list[str]:
    """The batches that ended in a call for several of them; none in one that failed."""
    call = marker.details["data"].payloads
    told = marker.details["result"].payloads
    if not told or json.loads(call[0].data)["activity_type"] != contract.CARRY_TOGETHER:
        return []
    return [contract.batch_workflow_id(each) for each in json.loads(told[0].data)]
