"""Suspicious submissions are held, and a case ends exactly once."""

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError

from scoreboard import contract, ids
from scoreboard.domain import Submission
from tests.support.eventually import eventually
from tests.support.pipeline import Pipeline, submission
from worker.workflows.fraud_review import CaseDecision, CaseState, FraudReview

SUSPICIOUS = 5_000


@pytest.fixture
def worker_settings() -> dict[str, Any]:
    return {"fraud_large_increment": 1_000, "fraud_open_cases_max": 2}


def case_of(pipeline: Pipeline, item: Submission) -> WorkflowHandle[Any, Any]:
    return pipeline.client.get_workflow_handle(contract.review_workflow_id(ids.text(item.id)))


async def decide(pipeline: Pipeline, item: Submission, decision: str) -> CaseState:
    state: CaseState = await case_of(pipeline, item).execute_update(
        FraudReview.decide,
        CaseDecision(decision=decision, decided_by="reviewer"),
    )
    return state


async def test_a_suspicious_submission_is_held_and_changes_nothing(pipeline: Pipeline) -> None:
    held = submission(1, SUSPICIOUS)

    await pipeline.run(held, submission(2, 10))

    assert await pipeline.rows("SELECT score FROM users ORDER BY id") == [(1500,), (1410,)]
    assert await pipeline.rows("SELECT outcome, seq FROM ledger WHERE user_id = 1") == [
        ("held", None)
    ]
    assert await pipeline.rows("SELECT reasons, decision FROM reviews") == [
        ("large_increment", None)
    ]
    state = await case_of(pipeline, held).query(FraudReview.state)
    assert state.decision == ""


async def test_an_approved_case_is_applied_once_and_published(pipeline: Pipeline) -> None:
    held = submission(1, SUSPICIOUS)
    await pipeline.run(held)

    state = await decide(pipeline, held, "approved")

    assert state.outcome == "applied"
    assert await pipeline.rows("SELECT score FROM users WHERE id = 1") == [(1500 + SUSPICIOUS,)]
    assert (1, 1500 + SUSPICIOUS) in await pipeline.ranking()
    assert [change.score for change in await pipeline.streamed()] == [1500 + SUSPICIOUS]
    [(decision, decided_by)] = await pipeline.rows("SELECT decision, decided_by FROM reviews")
    assert (decision, decided_by) == ("approved", b"reviewer")


async def test_a_rejected_case_leaves_the_score_and_says_so(pipeline: Pipeline) -> None:
    held = submission(1, SUSPICIOUS)
    await pipeline.run(held)

    state = await decide(pipeline, held, "rejected")

    assert state.outcome == "rejected_by_review"
    assert await pipeline.rows("SELECT score FROM users WHERE id = 1") == [(1500,)]


async def test_only_one_of_two_concurrent_reviewers_decides(pipeline: Pipeline) -> None:
    held = submission(1, SUSPICIOUS)
    await pipeline.run(held)

    answers = await asyncio.gather(
        decide(pipeline, held, "approved"),
        decide(pipeline, held, "rejected"),
        return_exceptions=True,
    )

    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert len(refused) == 1
    rows = await pipeline.rows("SELECT COUNT(*) FROM reviews WHERE decision IS NOT NULL")
    assert rows == [(1,)]


async def test_a_decision_of_another_kind_is_refused(pipeline: Pipeline) -> None:
    held = submission(1, SUSPICIOUS)
    await pipeline.run(held)

    with pytest.raises(WorkflowUpdateFailedError):
        await decide(pipeline, held, "maybe")


async def test_a_held_submission_sent_again_is_held_once_and_applied_once(
    pipeline: Pipeline,
) -> None:
    held = submission(1, SUSPICIOUS)
    await pipeline.run(held)
    await pipeline.run(held)
    await decide(pipeline, held, "approved")

    await pipeline.run(held)

    assert await pipeline.rows("SELECT score FROM users WHERE id = 1") == [(1500 + SUSPICIOUS,)]

    async def published() -> bool:
        return (1, 1500 + SUSPICIOUS) in await pipeline.ranking()

    await eventually(published)


async def test_a_user_with_as_many_cases_as_may_wait_gets_no_further_one_until_one_ends(
    pipeline: Pipeline,
) -> None:
    held = [submission(1, SUSPICIOUS + number) for number in range(4)]

    await pipeline.run(held[0])
    await pipeline.run(*held[1:3], submission(1, 10), submission(2, SUSPICIOUS))
    await decide(pipeline, held[0], "rejected")
    await pipeline.run(held[3])

    rows = await pipeline.rows("SELECT submission_id, outcome FROM ledger WHERE user_id = 1")
    assert [dict(rows)[item.id] for item in held] == [
        *("rejected_by_review", "held", "too_many_cases", "held"),
    ]
    assert await pipeline.rows("SELECT user_id FROM reviews ORDER BY user_id") == [
        *((1,), (1,), (1,), (2,)),
    ]
    assert await pipeline.rows("SELECT score FROM users WHERE id = 1") == [(1510,)]
