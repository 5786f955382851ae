"""Faults of Temporal: wiped, and set back to a copy.

Which submissions it was working on is read from its own files before they go: from the tables that
a start is acknowledged by. Its list of workflows is behind them, and would lack the last ones.
"""

import asyncio
import contextlib
import shutil
import sqlite3
import time
from pathlib import Path

from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.history.v1 import History

from harness.chaos.faults import Heal, Injected
from harness.lab.disks import settled
from harness.lab.system import Lab
from scoreboard import contract, ids

_BATCHES = """
SELECT execution.workflow_id, execution.status, begin.data
FROM current_executions AS execution
JOIN history_node AS begin ON begin.tree_id = execution.run_id AND begin.node_id = 1
WHERE execution.workflow_id LIKE ?
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
    await asyncio.to_thread(_copy_database, _database(lab), copy)
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


def _copy_database(source: Path, copy: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
        contextlib.closing(sqlite3.connect(copy)) as new,
    ):
        old.backup(new)


def _unfinished(lab: Lab) -> dict[str, list[str]]:
    return batches(_database(lab), running=True)


def batches(database: Path, *, running: bool = False) -> dict[str, list[str]]:
    """The submissions of each batch that the files of a Temporal server have, which must not run;
    with `running` those of the batches that have not ended. Raises sqlite3.Error."""
    found = {}
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for workflow, status, began in connection.execute(
            _BATCHES, (contract.batch_workflow_id("%"),)
        ):
            if running and status != WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING:
                continue
            started = (
                History.FromString(began).events[0].workflow_execution_started_event_attributes
            )
            batch = contract.decode_batch(started.input.payloads[0].data)
            found[workflow] = [ids.text(item.id) for item in batch]
    return found
