"""When a chaos run is at its end: a lane that waits for batches has ended those that it took."""

from pathlib import Path

from temporalio.client import Client

from harness.chaos.drain import at_work, told
from scoreboard import contract
from server.backends.temporal import Workflows
from tests.support.eventually import eventually
from tests.support.pipeline import NewWorker, submission


async def test_lane_is_at_work_until_its_batches_have_ended(
    worker: NewWorker, temporal_client: Client, task_queue: str, failpoints: Path
) -> None:
    here = f"TaskQueue = '{task_queue}'"
    batch = contract.encode_batch([submission()])

    async def at_work_are(*kinds: str) -> str | None:
        found = await at_work(temporal_client, here)
        return told(found) if {each.workflow_type for each in found} == {*kinds} else None

    await Workflows(temporal_client, task_queue).start("a", batch, timeout_s=5)
    waits = await eventually(lambda: at_work_are(contract.LANE_WORKFLOW))
    failpoints.write_text("record.before_commit 1000 raise\n")
    async with worker(failpoints=str(failpoints)):
        tries = await eventually(
            lambda: at_work_are(contract.LANE_WORKFLOW, contract.BATCH_WORKFLOW)
        )
        failpoints.write_text("")
        await eventually(at_work_are)

    assert "workflow task attempt 1" in waits
    assert contract.batch_workflow_id("a") in tries
    lanes = temporal_client.list_workflows(f"{here} AND ExecutionStatus = 'Running'")
    assert [each.workflow_type async for each in lanes] == [contract.LANE_WORKFLOW]
