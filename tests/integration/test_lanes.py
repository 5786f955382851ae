"""Lanes on a real Temporal server: every batch that was taken ends, counts once, and is found."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from adapters.temporal import TEMPORAL_ERRORS
from scoreboard import contract, ids
from server.backends import lane as lanes
from server.backends import temporal as module
from server.backends.temporal import Workflows
from tests.integration.test_workflow import FAILPOINTS, assert_alice_and_bob
from tests.support.eventually import eventually
from tests.support.pipeline import (
    NewWorker,
    Pipeline,
    all_ended,
    deaths_until,
    hand_over,
    lanes_of,
    submission,
    worker_environment,
)
from worker.workflows import submission_lane
from worker.workflows.submission_batch import SubmissionBatch

SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
CARRIED = EventType.EVENT_TYPE_MARKER_RECORDED
WENT_ON = EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED


@pytest.fixture
def workflows(temporal_client: Client, task_queue: str) -> Workflows:
    """Of an API process: it has a lane of its own."""
    return Workflows(temporal_client, task_queue)


async def events(workflows: Workflows, *kinds: "EventType.ValueType") -> list[int]:
    """How many events of these kinds the lanes of a task queue have, oldest lane first."""
    found = [0] * len(kinds)
    for lane in await lanes_of(workflows):
        history = await _handle(workflows, lane.id, lane.run_id).fetch_history()
        for number, kind in enumerate(kinds):
            found[number] += sum(event.event_type == kind for event in history.events)
    return found


def _handle(
    workflows: Workflows, lane: str, run_id: str | None = None
) -> "WorkflowHandle[object, None]":
    return workflows.client.get_workflow_handle(lane, run_id=run_id)


async def listed(workflows: Workflows, count: int) -> list[WorkflowExecution]:
    """The lanes, as soon as there are so many."""

    async def found() -> list[WorkflowExecution] | None:
        lanes = await lanes_of(workflows)
        return lanes if len(lanes) == count else None

    return await eventually(found)


# Faults inside a step


@pytest.mark.parametrize("times", [1, 5], ids=["once", "beyond the patience of local attempts"])
@pytest.mark.parametrize("point", FAILPOINTS)
async def test_a_batch_whose_step_fails_goes_on_by_itself(
    pipeline: Pipeline, workflows: Workflows, failpoints: Path, point: str, times: int
) -> None:
    failpoints.write_text(f"{point} {times} raise\n")

    await hand_over(workflows, [submission(1, 10), submission(2, 5), submission(1, 1)])

    await all_ended(workflows)
    await assert_alice_and_bob(pipeline, 1511, 1405, 3)
    fired = failpoints.with_name("failpoints.fired").read_text().splitlines()
    assert len(fired) == times
    assert await events(workflows, SIGNALED, WENT_ON) == [1, 1]


async def test_a_batch_is_carried_while_another_one_is_repeated(
    pipeline: Pipeline, workflows: Workflows, failpoints: Path
) -> None:
    failpoints.write_text("record.before_commit 7 raise\n")
    first = await hand_over(workflows, [submission(1, 10)])
    await eventually(lambda: _is(workflows.running(), {first}))
    # Its lane has handed it over by then.
    await eventually(lambda: _is(events(workflows, WENT_ON), [1]))
    failed = failpoints.with_name("failpoints.fired").read_text().count("\n")
    failpoints.write_text("")

    await hand_over(workflows, [submission(2, 5)])

    await eventually(lambda: _is(pipeline.rows("SELECT score FROM users WHERE id = 2"), [(1405,)]))
    assert 1 <= failed <= 7
    await all_ended(workflows)
    assert sorted(await pipeline.ranking()) == [(1, 1510), (2, 1405)]


async def _is(found: Awaitable[object], expected: object) -> bool:
    return bool(await found == expected)


async def test_a_call_that_hangs_is_given_up_and_delays_others_no_longer(
    pipeline: Pipeline, workflows: Workflows, failpoints: Path
) -> None:
    """The zombie wakes up later and must not count a second time."""
    failpoints.write_text("record.before_commit 1 sleep:11000\n")
    await hand_over(workflows, [submission(1, 10)])
    await eventually(lambda: failpoints.with_name("failpoints.fired").exists())

    await hand_over(workflows, [submission(2, 5)])

    await all_ended(workflows)
    await assert_alice_and_bob(pipeline, 1510, 1405, 2)


# Faults of processes


async def test_a_worker_killed_at_every_point_leaves_one_effect(
    mysql_url: str,
    worker: NewWorker,
    temporal_client: Client,
    task_queue: str,
    failpoints: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TASK_TIMEOUT", timedelta(seconds=1))
    failpoints.write_text("".join(f"{point} 1 exit\n" for point in FAILPOINTS))
    workflows = Workflows(temporal_client, task_queue)
    # Its own worker polls elsewhere: here it only prepares and looks.
    async with worker(task_queue=f"{task_queue}-idle") as looking:
        await hand_over(workflows, [submission(1, 10), submission(2, 5)])
        finishing = asyncio.create_task(all_ended(workflows))
        environment = worker_environment(looking, mysql_url, task_queue, failpoints)

        deaths = await deaths_until(finishing, environment, tmp_path / "worker.log")

        assert deaths == len(FAILPOINTS)
        await assert_alice_and_bob(looking, 1510, 1405, 2)


async def test_batches_that_waited_for_a_worker_are_carried_together(
    worker: NewWorker, workflows: Workflows
) -> None:
    async with worker():
        pass
    items = [submission(1, points) for points in range(1, 6)]
    for item in items:
        await hand_over(workflows, [item])

    async with worker() as pipeline:
        await all_ended(workflows)

        rows = await pipeline.rows("SELECT increment FROM ledger ORDER BY seq")
        assert rows == [(item.increment,) for item in items]
        assert await events(workflows, SIGNALED, CARRIED) == [5, 1]


@asynccontextmanager
async def earlier_version(client: Client, task_queue: str) -> AsyncIterator[None]:
    """A worker that knows no lanes."""
    async with Worker(
        client,
        task_queue=task_queue,
        workflows=[SubmissionBatch],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield


async def test_a_worker_that_knows_no_lanes_loses_no_batch(
    worker: NewWorker, workflows: Workflows, temporal_client: Client, task_queue: str
) -> None:
    async with earlier_version(temporal_client, task_queue):
        await hand_over(workflows, [submission(1, 10)])
        [lane] = await listed(workflows, 1)

        async def refused() -> bool:
            about = await _handle(workflows, lane.id).describe()
            return about.raw_description.pending_workflow_task.attempt > 1

        await eventually(refused)

    async with worker() as pipeline:
        await all_ended(workflows)
        await assert_alice_and_bob(pipeline, 1510, 1400, 1)


# What batches hold


async def test_a_malformed_batch_fails_alone(pipeline: Pipeline, workflows: Workflows) -> None:
    await workflows.start("poison", b"no batch", timeout_s=5)
    await hand_over(workflows, [submission(2, 7)])

    await all_ended(workflows)

    child = _handle(workflows, contract.batch_workflow_id("poison"))
    assert (await child.describe()).status is WorkflowExecutionStatus.FAILED
    await assert_alice_and_bob(pipeline, 1500, 1407, 1)


async def test_a_submission_that_two_batches_have_counts_once(
    worker: NewWorker, workflows: Workflows
) -> None:
    async with worker():
        pass
    twice = submission(1, 10)
    for batch in ([twice], [twice, submission(2, 1)], [submission(1, 1), twice]):
        await hand_over(workflows, batch)

    async with worker() as pipeline:
        await all_ended(workflows)
        await assert_alice_and_bob(pipeline, 1511, 1401, 3)


async def test_a_held_submission_opens_a_case_and_the_others_end(
    worker: NewWorker, workflows: Workflows
) -> None:
    async with worker(fraud_large_increment=1000) as pipeline:
        held = submission(1, 5000)
        await hand_over(workflows, [held, submission(2, 1)])

        await all_ended(workflows)

        case = _handle(workflows, contract.review_workflow_id(ids.text(held.id)))
        assert (await case.describe()).status is WorkflowExecutionStatus.RUNNING
        assert await pipeline.ranking() == [(1, 1500), (2, 1401)]


async def test_large_batches_are_carried_one_by_one(
    worker: NewWorker, workflows: Workflows
) -> None:
    async with worker():
        pass
    for user_id in (1, 2, 1):
        await hand_over(workflows, [submission(user_id, 1) for _ in range(contract.MAX_BATCH)])

    async with worker() as pipeline:
        await all_ended(workflows)

        assert sorted(await pipeline.ranking()) == [(1, 3500), (2, 2400)]
        assert await events(workflows, SIGNALED, CARRIED) == [3, 3]


# From one lane to the next


async def test_a_full_lane_ends_and_the_next_one_goes_on(
    pipeline: Pipeline, workflows: Workflows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "BATCHES_MAX", 3)

    for number in range(7):
        await hand_over(workflows, [submission(number % 2 + 1, 1)])

    async def rotated() -> bool:
        running = WorkflowExecutionStatus.RUNNING
        return [lane.status is running for lane in await lanes_of(workflows)] == [
            False,
            False,
            True,
        ]

    await eventually(rotated)
    await all_ended(workflows)
    await assert_alice_and_bob(pipeline, 1504, 1403, 7)


async def test_an_idle_lane_ends_and_the_next_batch_begins_it_anew(
    pipeline: Pipeline, workflows: Workflows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission_lane, "IDLE_S", 0.1)
    for runs in (1, 2):
        await hand_over(workflows, [submission(1, 1)])
        for lane in await listed(workflows, runs):
            await asyncio.wait_for(_handle(workflows, lane.id, lane.run_id).result(), 10)

    await assert_alice_and_bob(pipeline, 1502, 1400, 2)


async def test_a_lane_that_somebody_ended_begins_anew_with_the_next_batch(
    pipeline: Pipeline, workflows: Workflows
) -> None:
    await hand_over(workflows, [submission(1, 1)])
    await all_ended(workflows)
    [lane] = await listed(workflows, 1)
    await _handle(workflows, lane.id).terminate("by an operator")

    await hand_over(workflows, [submission(1, 1)])

    await all_ended(workflows)
    await assert_alice_and_bob(pipeline, 1502, 1400, 2)


# What is told of them


async def test_batches_under_way_are_found_in_lanes_and_by_themselves(
    pipeline: Pipeline, workflows: Workflows, temporal_client: Client, failpoints: Path
) -> None:
    other = Workflows(temporal_client, workflows.task_queue)
    failpoints.write_text("record.before_commit 5 raise\nrecord.after_commit 1 sleep:1500\n")
    by_itself = await hand_over(workflows, [submission(1, 1)])
    await eventually(lambda: _is(events(workflows, WENT_ON), [1]))
    in_lane = await hand_over(other, [submission(2, 1)])

    assert {by_itself, in_lane} & await workflows.running()

    await all_ended(other)
    await assert_alice_and_bob(pipeline, 1501, 1401, 2)


async def test_without_a_worker_nobody_says_that_a_batch_has_ended(
    worker: NewWorker, workflows: Workflows
) -> None:
    async with worker():
        await hand_over(workflows, [submission(1, 1)])
        await all_ended(workflows)
    # An idle lane tells as much without a worker.
    assert await workflows.running() == set()

    await hand_over(workflows, [submission(1, 1)])

    with pytest.raises(TEMPORAL_ERRORS):
        await workflows.running()


async def test_the_oldest_batch_that_no_worker_has_seen_gives_the_age(
    worker: NewWorker, workflows: Workflows
) -> None:
    async with worker():
        await hand_over(workflows, [submission(1, 1)])
        await all_ended(workflows)
        assert await workflows.oldest_batch_age_s(0.0) == 0
    began = asyncio.get_running_loop().time()
    for _ in range(3):
        await hand_over(workflows, [submission(1, 1)])

    async def old() -> float | None:
        return await workflows.oldest_batch_age_s(1.5) or None

    age_s = await eventually(old)
    assert 1.5 < age_s <= asyncio.get_running_loop().time() - began + 0.5

    async with worker():
        await all_ended(workflows)
        assert await workflows.oldest_batch_age_s(0.0) == 0
