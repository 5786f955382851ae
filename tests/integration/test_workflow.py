"""The workflow on a real Temporal server: every accepted batch ends, and counts once."""

import asyncio
import os
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from scoreboard import contract
from scoreboard.addresses import mysql_address
from scoreboard.domain import Submission
from server.backends.temporal import batch_payload
from tests.support.eventually import eventually
from tests.support.pipeline import (
    NewWorker,
    Pipeline,
    deaths_until,
    running_pipeline,
    submission,
    worker_environment,
    worker_process,
)
from tests.workflow.record import LARGE, PATHS, record
from tests.workflow.test_replay import WORKFLOWS
from worker.runtime import running_worker
from worker.settings import WorkerSettings

FAILPOINTS = [
    "record.before_commit",
    "record.after_commit",
    "publish.before",
    "notify.before",
    "batch.before_completion",
]


async def start(pipeline: Pipeline, payload: Any) -> "WorkflowHandle[Any, Any]":
    """Start a batch as the API does, with a task timeout that suits a test."""
    return await pipeline.client.start_workflow(
        contract.BATCH_WORKFLOW,
        payload,
        id=contract.batch_workflow_id(secrets.token_hex(8)),
        task_queue=pipeline.settings.task_queue,
        task_timeout=timedelta(seconds=2),
    )


async def start_batch(pipeline: Pipeline, *batch: Submission) -> "WorkflowHandle[Any, Any]":
    return await start(pipeline, batch_payload(contract.encode_batch(batch)))


async def assert_alice_and_bob(pipeline: Pipeline, alice: int, bob: int, seq: int) -> None:
    """MySQL, ranking and stream agree on these totals after `seq` changes."""
    scores = await pipeline.rows("SELECT score FROM users ORDER BY id")
    assert scores == [(alice,), (bob,)]
    numbers = await pipeline.rows("SELECT seq FROM ledger WHERE seq IS NOT NULL ORDER BY seq")
    assert numbers == [(n,) for n in range(1, seq + 1)]
    assert sorted(await pipeline.ranking()) == [(1, alice), (2, bob)]
    assert [change.seq for change in await pipeline.streamed()] == list(range(1, seq + 1))


# Faults inside a step


@pytest.mark.parametrize("times", [1, 4, 6], ids=["once", "until patience", "beyond patience"])
@pytest.mark.parametrize("point", FAILPOINTS)
async def test_a_step_that_fails_is_repeated_until_it_succeeds(
    pipeline: Pipeline, failpoints: Path, point: str, times: int
) -> None:
    failpoints.write_text(f"{point} {times} raise\n")
    handle = await start_batch(pipeline, submission(1, 10), submission(2, 5), submission(1, 1))

    await asyncio.wait_for(handle.result(), 20)

    await assert_alice_and_bob(pipeline, 1511, 1405, 3)
    fired = failpoints.with_name("failpoints.fired").read_text().splitlines()
    assert len(fired) == times
    history = await handle.fetch_history()
    scheduled = [
        e for e in history.events if e.HasField("activity_task_scheduled_event_attributes")
    ]
    # Once in the call of all steps, three times by itself.
    assert len(scheduled) == (times >= 4)


async def test_a_step_that_hangs_is_given_up_and_repeated(
    pipeline: Pipeline, failpoints: Path
) -> None:
    """The zombie wakes up later and must not count a second time."""
    failpoints.write_text("record.before_commit 1 sleep:9000\n")
    handle = await start_batch(pipeline, submission(1, 10))

    await asyncio.wait_for(handle.result(), 30)

    await assert_alice_and_bob(pipeline, 1510, 1400, 1)


# Faults of the process


async def test_a_worker_killed_at_every_point_leaves_one_effect(
    mysql_url: str,
    redis_url: str,
    temporal_client: Client,
    task_queue: str,
    failpoints: Path,
    tmp_path: Path,
) -> None:
    failpoints.write_text("".join(f"{point} 1 exit\n" for point in FAILPOINTS))
    async with running_pipeline(
        temporal_client,
        mysql_url=mysql_url,
        redis_url=redis_url,
        # Its own worker polls elsewhere: here it only prepares and looks.
        task_queue=f"{task_queue}-idle",
    ) as looking:
        handle = await temporal_client.start_workflow(
            contract.BATCH_WORKFLOW,
            contract.encode_batch([submission(1, 10), submission(2, 5)]),
            id=contract.batch_workflow_id(secrets.token_hex(8)),
            task_queue=task_queue,
            task_timeout=timedelta(seconds=1),
        )
        finishing = asyncio.create_task(handle.result())
        environment = worker_environment(looking, mysql_url, task_queue, failpoints)

        deaths = await deaths_until(finishing, environment, tmp_path / "worker.log")

        assert deaths == len(FAILPOINTS)
        await assert_alice_and_bob(looking, 1510, 1405, 2)


async def test_a_worker_told_to_stop_ends_with_status_0(
    mysql_url: str, redis_url: str, services: Any, task_queue: str, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "SCOREBOARD_MYSQL_URL": mysql_url,
        "SCOREBOARD_REDIS_URL": redis_url,
        "SCOREBOARD_TEMPORAL_ADDRESS": services.temporal_address,
        "SCOREBOARD_TASK_QUEUE": task_queue,
    }
    log = tmp_path / "worker.log"
    async with worker_process(environment, log) as process:
        await eventually(lambda: "worker_ready" in log.read_text(), timeout_s=20)

        process.terminate()

        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert "Traceback" not in log.read_text()


async def test_a_worker_stops_soon_whenever_it_is_told_to(
    mysql_url: str, redis_url: str, temporal_client: Client, task_queue: str
) -> None:
    """Also in the moment of a Redis or MySQL call, when Python may forget a cancellation."""
    settings = WorkerSettings(
        mysql=mysql_address(mysql_url),
        redis=redis_url,
        temporal_address="",
        task_queue=task_queue,
        heal_interval_s=0.001,
    )

    async def start_and_stop(after_s: float) -> None:
        async with running_worker(temporal_client, settings):
            await asyncio.sleep(after_s)

    for number in range(12):
        stopping = asyncio.create_task(start_and_stop(number / 100))
        done, _ = await asyncio.wait({stopping}, timeout=8)

        assert done, f"still running after {number} restarts"
        await stopping


@pytest.mark.parametrize("away", ["SCOREBOARD_MYSQL_URL", "SCOREBOARD_TEMPORAL_ADDRESS"])
async def test_worker_waits_for_unavailable_services_and_still_stops(
    mysql_url: str, redis_url: str, services: Any, tmp_path: Path, away: str
) -> None:
    nowhere = {
        "SCOREBOARD_MYSQL_URL": "mysql://nobody:nothing@127.0.0.1:1/none",
        "SCOREBOARD_TEMPORAL_ADDRESS": "127.0.0.1:1",
    }
    environment = {
        **os.environ,
        "SCOREBOARD_MYSQL_URL": mysql_url,
        "SCOREBOARD_REDIS_URL": redis_url,
        "SCOREBOARD_TEMPORAL_ADDRESS": services.temporal_address,
        away: nowhere[away],
    }
    log = tmp_path / "worker.log"
    async with worker_process(environment, log) as process:
        await eventually(lambda: "waiting_for" in log.read_text(), timeout_s=20)

        process.terminate()

        assert await asyncio.wait_for(process.wait(), 5) == 0
    assert log.read_text().count("waiting_for") == 1
    assert "nothing" not in log.read_text()


# Poison


def with_submission(**changed: Any) -> bytes:
    good = {"id": b"\1" * 16, "principal": "1", "user_id": 1, "increment": 1, "received_us": 1}
    return msgspec.msgpack.encode([list((good | changed).values())])


POISON: dict[str, Callable[[], Any]] = {
    "empty payload": lambda: b"",
    "not MessagePack": lambda: b"\xc1",
    "no submissions": lambda: contract.encode_batch([]),
    "too many submissions": lambda: contract.encode_batch(
        [submission()] * (contract.MAX_BATCH + 1)
    ),
    "another shape": lambda: msgspec.msgpack.encode({"id": 1}),
    "short id": lambda: with_submission(id=b"\1" * 15),
    "long principal": lambda: with_submission(principal="x" * 65),
    "principal that is long as bytes": lambda: with_submission(principal="ü" * 64),
    "integer beyond 64 bits": lambda: with_submission(increment=2**64 - 1),
    "text that is no UTF-8": lambda: with_submission(principal="ab").replace(
        b"\xa2ab", b"\xa2\xff\xff"
    ),
}


@pytest.mark.parametrize("poison", POISON)
async def test_a_poisoned_batch_fails_visibly_at_once_and_alone(
    pipeline: Pipeline, poison: str
) -> None:
    handle = await start(pipeline, POISON[poison]())

    with pytest.raises(WorkflowFailureError) as caught:
        await asyncio.wait_for(handle.result(), 5)
    await pipeline.run(submission(2, 7))

    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.non_retryable) == ("MalformedBatch", True)
    await assert_alice_and_bob(pipeline, 1500, 1407, 1)


@pytest.mark.parametrize("payload", ["text", 7, None, {"a": 1}, [1, 2]], ids=repr)
async def test_a_batch_that_is_no_bytes_fails_visibly_at_once(
    pipeline: Pipeline, payload: object
) -> None:
    handle = await start(pipeline, payload)

    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 5)


# Many at once


async def test_many_batches_that_share_submissions_count_each_once(pipeline: Pipeline) -> None:
    pool = [submission(n % 2 + 1, 1) for n in range(60)]
    batches = [[pool[(start + n) % 60] for n in range(10)] for start in range(0, 60, 3)]

    await asyncio.gather(*(pipeline.run(*batch) for batch in batches))

    await assert_alice_and_bob(pipeline, 1530, 1430, 60)


async def test_two_workers_share_a_queue_and_agree(
    mysql_url: str, redis_url: str, temporal_client: Client, task_queue: str
) -> None:
    async with (
        running_pipeline(
            temporal_client, mysql_url=mysql_url, redis_url=redis_url, task_queue=task_queue
        ) as one,
        running_pipeline(
            await Client.connect(temporal_client.service_client.config.target_host),
            mysql_url=mysql_url,
            redis_url=redis_url,
            task_queue=task_queue,
        ) as two,
    ):
        await asyncio.gather(
            *((one, two)[n % 2].run(submission(1, 1), submission(2, 1)) for n in range(40))
        )

        await assert_alice_and_bob(one, 1540, 1440, 80)


async def test_the_board_is_emptied_under_traffic_and_comes_back(pipeline: Pipeline) -> None:
    async def empty() -> None:
        for _ in range(5):
            await asyncio.sleep(0.05)
            await pipeline.redis.flushdb()

    await asyncio.gather(empty(), *(pipeline.run(submission(1, 1)) for _ in range(40)))

    async def back() -> bool:
        return sorted(await pipeline.ranking()) == [(1, 1540), (2, 1400)]

    await eventually(back)
    seqs = [change.seq for change in await pipeline.streamed()]
    assert seqs == list(range(seqs[0], 41))


# Histories


@pytest.mark.parametrize("runner", [SandboxedWorkflowRunner, UnsandboxedWorkflowRunner])
async def test_every_path_runs_and_replays(
    worker: NewWorker, failpoints: Path, runner: type[Any]
) -> None:
    """In the sandbox too, which production leaves out for speed."""
    other = UnsandboxedWorkflowRunner if runner is SandboxedWorkflowRunner else runner
    async with worker(
        runner=runner(), failpoints=str(failpoints), fraud_large_increment=LARGE - 1
    ) as pipeline:
        for name in PATHS:
            history = await record(pipeline, name)

            await Replayer(workflows=WORKFLOWS, workflow_runner=other()).replay_workflow(history)
