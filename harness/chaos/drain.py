"""Waits until everything accepted is decided, and says what is not."""

import asyncio
import time

import pymysql
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError

from harness.chaos.system import UnderTest
from harness.evidence.database import board_seq
from scoreboard import contract

TIMEOUT_S = 180.0
CALL_TIMEOUT_S = 15.0
LOOK_S = 0.7
TOLD = 3
RUNNING = f"WorkflowType IN ('{contract.BATCH_WORKFLOW}', '{contract.LANE_WORKFLOW}')"


async def drained(system: UnderTest, *, timeout_s: float = TIMEOUT_S) -> str:
    """Empty when, twice in a row, no batch was under way and the board had not changed; else what
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
                running = await at_work(client, RUNNING)
                seq = await asyncio.to_thread(board_seq, system.mysql_url())
                if running:
                    left = told(running)
        except (RuntimeError, OSError, RPCError, pymysql.err.Error) as error:
            quiet, left = 0, str(error) or type(error).__name__
        else:
            quiet = quiet + 1 if not running and seq == last_seq else 0
            last_seq = seq
            if quiet >= 2:
                return ""
        await asyncio.sleep(LOOK_S)
    return left


async def at_work(client: Client, query: str) -> list[WorkflowExecutionDescription]:
    """The workflows of a query that run and have something to do, which an idle lane has not."""
    found = []
    async for each in client.list_workflows(f"ExecutionStatus = 'Running' AND {query}"):
        about = await client.get_workflow_handle(each.id, run_id=each.run_id).describe()
        lane = each.workflow_type == contract.LANE_WORKFLOW
        if not lane or _waits_for(about):
            found.append(about)
    return found


def _waits_for(about: WorkflowExecutionDescription) -> list[str]:
    """The steps, tasks and batches of a workflow that have not ended."""
    raw = about.raw_description
    found = [
        f"step {step.activity_type.name} attempt {step.attempt} {step.last_failure.message}"
        for step in raw.pending_activities
    ]
    if raw.HasField("pending_workflow_task"):
        found.append(f"workflow task attempt {raw.pending_workflow_task.attempt}")
    return found + [child.workflow_id for child in raw.pending_children]


def told(running: list[WorkflowExecutionDescription]) -> str:
    """Which workflows run, since when, and what they wait for."""
    found = []
    for about in running[:TOLD]:
        began = about.start_time.isoformat(timespec="seconds")
        waits = "; ".join(_waits_for(about)) or "nothing pending"
        found.append(f"{about.id} since {began}: {waits}")
    return f"{len(running)} workflows run: {' | '.join(found)}"
