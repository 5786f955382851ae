"""Faults of Temporal: wiped, and set back to a copy.

Which submissions it was working on is read from its own files before they go.
"""

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client
from temporalio.service import RPCError

from harness.chaos.faults import Heal, Injected
from harness.lab.disks import settled
from harness.lab.machines import Machine
from harness.lab.mysql import until
from harness.lab.network import LabError
from harness.lab.system import Lab
from harness.lab.topology import HOSTS
from scoreboard import contract, ids

AUTOPSY_PORT = 7333
CALL_TIMEOUT_S = 8.0
CONNECT_TIMEOUT_S = 90.0


async def temporal_wiped(lab: Lab, outcome: Injected) -> Heal:
    """Temporal comes back with nothing."""
    await lab.machines.kill("temporal")
    unfinished = await _autopsy(lab)
    for path in _temporal_files(lab):
        path.unlink()
    lab.losses.append(
        {"store": "temporal", "sids": [s for sids in unfinished.values() for s in sids]}
    )
    outcome.proof = f"the database's files deleted; {len(unfinished)} batches were unfinished"

    async def heal() -> None:
        lab.machines.start("temporal")
        await lab.until_up()

    return heal


def _temporal_files(lab: Lab) -> list[Path]:
    return list(lab.site.store("temporal").glob("temporal.db*"))


async def temporal_restored(lab: Lab, outcome: Injected) -> Heal:
    """Temporal comes back as it was some seconds ago."""
    source = lab.site.store("temporal") / "temporal.db"
    copy = lab.folder / "temporal-copy.db"
    copy.unlink(missing_ok=True)
    await asyncio.to_thread(_copy_database, source, copy)
    taken_s = time.time()

    async def heal() -> None:
        await lab.machines.kill("temporal")
        age_s = time.time() - taken_s
        unfinished = await _autopsy(lab)
        for path in _temporal_files(lab):
            path.unlink()
        shutil.move(copy, source)
        settled(source.parent)
        lab.machines.start("temporal")
        client = await _client(lab.temporal_address)
        lost = {w: sids for w, sids in unfinished.items() if not await _known(client, w)}
        lab.losses.append(
            {"store": "temporal", "sids": [s for sids in lost.values() for s in sids]}
        )
        outcome.proof = f"a copy {age_s:.0f} s old; {len(lost)} unfinished batches are not in it"
        await lab.until_up()

    return heal


def _copy_database(source: Path, copy: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
        contextlib.closing(sqlite3.connect(copy)) as new,
    ):
        old.backup(new)


async def _client(address: str) -> Client:
    found: list[Client] = []

    async def connect() -> None:
        try:
            # A call to a server that has just begun to listen may get no answer at all.
            async with asyncio.timeout(CALL_TIMEOUT_S):
                client = await Client.connect(address)
                await client.count_workflows("")
        except RPCError as error:
            raise LabError(str(error)) from error
        found.append(client)

    await until(connect, timeout_s=CONNECT_TIMEOUT_S, what="Temporal")
    return found[0]


async def _known(client: Client, workflow: str) -> bool:
    try:
        await client.get_workflow_handle(workflow).describe()
    except RPCError:
        return False
    return True


async def _autopsy(lab: Lab) -> dict[str, list[str]]:
    """The submissions of each batch that a dead Temporal was working on, from a copy of its
    files."""
    folder = lab.folder / "autopsy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in _temporal_files(lab):
        shutil.copy(path, folder / path.name)
    command = [
        argument.replace(str(lab.site.store("temporal")), str(folder))
        for argument in lab.site.command("temporal")
    ]
    command[command.index("--port") + 1] = str(AUTOPSY_PORT)
    lab.machines.all.pop("temporal-autopsy", None)
    lab.machines.add(
        Machine(
            "temporal-autopsy",
            command=lambda: command,
            environment=dict,
            log=lab.folder / "autopsy.log",
            folder=lambda: folder,
            host="temporal",
        )
    )
    lab.machines.start("temporal-autopsy")
    try:
        client = await _client(f"{HOSTS['temporal']}:{AUTOPSY_PORT}")
        return {w: await _batch(client, w, r) for w, r in await _running(client)}
    finally:
        await lab.machines.kill("temporal-autopsy")
        shutil.rmtree(folder, ignore_errors=True)


async def _running(client: Client) -> Sequence[tuple[str, str]]:
    query = f"ExecutionStatus = 'Running' AND WorkflowType = '{contract.BATCH_WORKFLOW}'"
    return [(each.id, each.run_id) async for each in client.list_workflows(query)]


async def _batch(client: Client, workflow: str, run: str) -> list[str]:
    answer = await client.workflow_service.get_workflow_execution_history(
        GetWorkflowExecutionHistoryRequest(
            namespace=client.namespace,
            execution=WorkflowExecution(workflow_id=workflow, run_id=run),
            maximum_page_size=1,
        )
    )
    started = answer.history.events[0].workflow_execution_started_event_attributes
    return [ids.text(item.id) for item in contract.decode_batch(started.input.payloads[0].data)]
