"""A case ends exactly once whatever fails meanwhile: a step, the worker, or patience."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from scoreboard import contract, ids
from scoreboard.domain import Decision, Submission
from tests.support.eventually import eventually
from tests.support.pipeline import (
    NewWorker,
    Pipeline,
    running_pipeline,
    submission,
    worker_environment,
    worker_process,
)
from worker.database.cases import Cases
from worker.failpoints import Failpoints
from worker.runtime import running_worker
from worker.workflows.fraud_review import (
    CaseDecision,
    CaseState,
    FraudReview,
)

SUSPICIOUS = 5_000
FAILPOINTS = [
    "resolve.before_commit",
    "resolve.after_commit",
    "publish.before",
    "notify.before",
    "batch.before_completion",
]
APPROVED, REJECTED, EXPIRED = (item.value for item in Decision)
OUTCOMES = {APPROVED: "applied", REJECTED: "rejected_by_review", EXPIRED: "rejected_by_review"}
NEVER_S = 600.0

Case = WorkflowHandle[FraudReview, str]


@pytest_asyncio.fixture
async def looking(
    mysql_url: str, redis_url: str, temporal_client: Client, task_queue: str
) -> AsyncIterator[Pipeline]:
    """A pipeline whose worker polls another queue: it only prepares and looks."""
    async with running_pipeline(
        temporal_client,
        mysql_url=mysql_url,
        redis_url=redis_url,
        task_queue=f"{task_queue}-idle",
    ) as running:
        yield running


async def open_case(
    pipeline: Pipeline, held: Submission, *, task_queue: str = "", limit_s: float = NEVER_S
) -> Case:
    """Hold a submission and open its case, with a task timeout that suits a test."""
    await pipeline.hold(held)
    return await pipeline.client.start_workflow(
        FraudReview.run,
        args=[ids.text(held.id), limit_s],
        id=contract.review_workflow_id(ids.text(held.id)),
        task_queue=task_queue or pipeline.settings.task_queue,
        task_timeout=timedelta(seconds=1),
    )


async def has_event(case: Case, event: str) -> bool:
    """Whether the history of the case has an event of this type."""
    history = await case.fetch_history()
    return any(e.WhichOneof("attributes") == f"{event}_event_attributes" for e in history.events)


async def decide(case: Case, decision: str, by: str = "reviewer") -> CaseState:
    return await case.execute_update(
        FraudReview.decide, CaseDecision(decision=decision, decided_by=by)
    )


async def end(case: Case, decision: str) -> None:
    """See a case to its end; one that is to expire is left alone.

    A reviewer asks again when an answer is lost: Temporal gives an update up whose task
    fails again and again.
    """

    async def answered() -> bool:
        try:
            await decide(case, decision)
        except WorkflowUpdateFailedError:
            # The update before this one was not lost after all.
            return True
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND
        return True

    if decision != EXPIRED:
        await eventually(answered, timeout_s=60)
    assert await case.result() == OUTCOMES[decision]
    state = await case.query(FraudReview.state)
    assert (state.decision, state.outcome) == (decision, OUTCOMES[decision])


async def assert_ended_once(pipeline: Pipeline, decision: str, by: str = "reviewer") -> None:
    """Ledger, audit trail, ranking and stream agree on this one end of the only case."""
    score, seqs = (1500 + SUSPICIOUS, [1]) if decision == APPROVED else (1500, [])
    ledger = await pipeline.rows("SELECT outcome, seq, score_after FROM ledger")
    assert ledger == [(OUTCOMES[decision], *((1, score) if seqs else (None, None)))]
    assert await pipeline.rows("SELECT decision, decided_by FROM reviews") == [
        (decision, by.encode())
    ]
    assert await pipeline.rows("SELECT score FROM users ORDER BY id") == [(score,), (1400,)]
    assert await pipeline.rows("SELECT seq FROM boards") == [(len(seqs),)]

    async def is_ranked() -> bool:
        return sorted(await pipeline.ranking()) == [(1, score), (2, 1400)]

    # A killed worker may not have built the board yet; the next one does.
    await eventually(is_ranked)
    assert [(c.seq, c.score) for c in await pipeline.streamed()] == [(n, score) for n in seqs]


def times_fired(failpoints: Path) -> int:
    return len(failpoints.with_name("failpoints.fired").read_text().splitlines())


# Faults inside a step


@pytest.mark.parametrize("times", [1, 3], ids=["once", "beyond patience"])
@pytest.mark.parametrize("point", FAILPOINTS)
@pytest.mark.parametrize("decision", [APPROVED, REJECTED])
async def test_a_step_of_a_case_that_fails_is_repeated_and_counts_once(
    pipeline: Pipeline, failpoints: Path, decision: str, point: str, times: int
) -> None:
    failpoints.write_text(f"{point} {times} raise\n")
    case = await open_case(pipeline, submission(1, SUSPICIOUS))

    await asyncio.wait_for(end(case, decision), 20)

    assert times_fired(failpoints) == times
    await assert_ended_once(pipeline, decision)


# Faults of the process


@pytest.mark.parametrize(
    ("decision", "point"),
    [
        *[(decision, point) for decision in (APPROVED, REJECTED) for point in FAILPOINTS],
        *[(EXPIRED, point) for point in FAILPOINTS[:2]],
    ],
)
async def test_a_worker_killed_at_any_point_of_a_case_leaves_one_end(
    looking: Pipeline,
    mysql_url: str,
    task_queue: str,
    failpoints: Path,
    tmp_path: Path,
    decision: str,
    point: str,
) -> None:
    failpoints.write_text(f"{point} 1 exit\n")
    environment = worker_environment(looking, mysql_url, task_queue, failpoints)
    case = await open_case(
        looking,
        submission(1, SUSPICIOUS),
        task_queue=task_queue,
        limit_s=0.2 if decision == EXPIRED else NEVER_S,
    )
    ending = asyncio.create_task(end(case, decision))

    async with worker_process(environment, tmp_path / "worker.log") as process:
        await asyncio.wait_for(process.wait(), 60)
    assert times_fired(failpoints) == 1
    assert not ending.done()
    async with running_worker(looking.client, replace(looking.settings, task_queue=task_queue)):
        await asyncio.wait_for(ending, 60)
        by = "time limit" if decision == EXPIRED else "reviewer"
        await assert_ended_once(looking, decision, by)


@pytest.mark.parametrize("later", [REJECTED, EXPIRED])
async def test_a_stored_decision_stands_when_temporal_never_heard_of_it(
    pipeline: Pipeline, later: str
) -> None:
    """The worker that stored it died, and its update was lost with a restart of Temporal."""
    held = submission(1, SUSPICIOUS)
    case = await open_case(pipeline, held, limit_s=1.0 if later == EXPIRED else NEVER_S)
    cases = Cases(pipeline.pool, Failpoints(""), pipeline.settings.fraud)
    await cases.resolve(held.id, Decision.APPROVED, "first")

    if later != EXPIRED:
        await decide(case, later, "second")

    assert await case.result() == "applied"
    state = await case.query(FraudReview.state)
    assert (state.decision, state.decided_by) == (APPROVED, "first")
    await assert_ended_once(pipeline, APPROVED, "first")


# The time limit


async def test_a_case_left_alone_expires_once_and_stays_so(worker: NewWorker) -> None:
    async with worker(fraud_large_increment=1_000, fraud_review_limit_s=0.5) as pipeline:
        held = submission(1, SUSPICIOUS)
        await pipeline.run(held)
        case = pipeline.client.get_workflow_handle_for(
            FraudReview.run, contract.review_workflow_id(ids.text(held.id))
        )

        assert await asyncio.wait_for(case.result(), 20) == "rejected_by_review"
        with pytest.raises(RPCError, match="completed"):
            await decide(case, APPROVED)
        await pipeline.run(held)

        state = await case.query(FraudReview.state)
        assert (state.decision, state.outcome) == (EXPIRED, "rejected_by_review")
        await assert_ended_once(pipeline, EXPIRED, "time limit")


async def test_decision_pending_at_the_time_limit_wins(looking: Pipeline, task_queue: str) -> None:
    """Both reach the workflow in one task, since no worker is there to take them apart."""
    settings = replace(looking.settings, task_queue=task_queue)
    case = await open_case(looking, submission(1, SUSPICIOUS), task_queue=task_queue, limit_s=2.0)

    async with running_worker(looking.client, settings):
        await eventually(lambda: has_event(case, "timer_started"))
    deciding = asyncio.create_task(decide(case, APPROVED))
    await eventually(lambda: has_event(case, "timer_fired"))
    assert not deciding.done()
    async with running_worker(looking.client, settings):
        state = await asyncio.wait_for(deciding, 20)
        assert await case.result() == "applied"

    assert (state.decision, state.outcome) == (APPROVED, "applied")
    await assert_ended_once(looking, APPROVED)


async def test_decisions_around_the_limit_each_have_one_effect_or_none(pipeline: Pipeline) -> None:
    items = [submission(1, SUSPICIOUS + number) for number in range(17)]

    async def decided_after(item: Submission, wait_s: float) -> str:
        """Which decision stands, once the answer to the reviewer has been held against it."""
        case = await open_case(pipeline, item, limit_s=1.0)
        await eventually(lambda: has_event(case, "timer_started"))
        await asyncio.sleep(wait_s)
        try:
            answer = (await decide(case, APPROVED)).decision
        except (WorkflowUpdateFailedError, RPCError):
            answer = EXPIRED
        outcome = await case.result()
        rows = await pipeline.rows(
            "SELECT decision, outcome FROM reviews JOIN ledger USING (submission_id)"
            f" WHERE submission_id = x'{item.id.hex()}'"
        )
        assert rows == [(answer, outcome)] == [(answer, OUTCOMES[answer])]
        return answer

    ends = await asyncio.gather(
        *(decided_after(item, number / 8) for number, item in enumerate(items))
    )

    assert {ends[0], ends[-1]} == {APPROVED, EXPIRED}
    approved = [item for item, decision in zip(items, ends, strict=True) if decision == APPROVED]
    score = 1500 + sum(item.increment for item in approved)
    assert sorted(await pipeline.ranking()) == [(1, score), (2, 1400)]
    streamed = await pipeline.streamed()
    assert [change.seq for change in streamed] == list(range(1, len(approved) + 1))
    assert streamed[-1].score == score
