"""Waits until everything accepted is decided, and says what is not."""

import asyncio
import time

import pymysql
from temporalio.client import Client, WorkflowExecution
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError

from harness.chaos.system import UnderTest
from harness.evidence.database import board_seq
from scoreboard import contract

TIMEOUT_S = 180.0
CALL_TIMEOUT_S = 15.0
LOOK_S = 0.7
TOLD = 3
RUNNING = f"ExecutionStatus = 'Running' AND WorkflowType = '{contract.BATCH_WORKFLOW}'"


async def drained(system: UnderTest, *, timeout_s: float = TIMEOUT_S) -> str:
    """Empty when, twice in a row, no batch was running and the board had not changed; else what
    was left at the deadline."""
    deadline = time.monotonic() + timeout_s
    # The client's own threads: those of an earlier run are on the network of a lab that is gone.
    runtime = Runtime(telemetry=TelemetryConfig())
    quiet = 0
    last_seq = -1
    left = "nothing was seen"
    while time.monotonic() < deadline:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                client = await Client.connect(system.temporal_address, runtime=runtime)
                running = [each async for each in client.list_workflows(RUNNING)]
                seq = await asyncio.to_thread(board_seq, system.mysql_url())
                if running:
                    left = await _told(client, running)
        except (RuntimeError, OSError, RPCError, pymysql.err.Error) as error:
            quiet, left = 0, str(error) or type(error).__name__
        else:
            quiet = quiet + 1 if not running and seq == last_seq else 0
            last_seq = seq
            if quiet >= 2:
                return ""
        await asyncio.sleep(LOOK_S)
    return left


async def _told(client: Client, running: list[WorkflowExecution]) -> str:
    """Which batches run, since when, and what they wait for."""
    found = []
    for each in running[:TOLD]:
        about = await client.get_workflow_handle(each.id, run_id=each.run_id).describe()
        raw = about.raw_description
        steps = [
            f"step {step.activity_type.name} attempt {step.attempt} {step.last_failure.message}"
            for step in raw.pending_activities
        ]
        if raw.HasField("pending_workflow_task"):
            steps.append(f"workflow task attempt {raw.pending_workflow_task.attempt}")
        began = about.start_time.isoformat(timespec="seconds")
        found.append(f"{each.id} since {began}: {'; '.join(steps) or 'nothing pending'}")
    return f"{len(running)} batches run: {' | '.join(found)}"
