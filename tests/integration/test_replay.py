"""What MySQL lost comes back from Temporal, what Temporal lost from MySQL: each exactly once."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from temporalio.client import Client, ScheduleUpdate, ScheduleUpdateInput

from adapters.mysql import query_all
from scoreboard import contract, ids
from scoreboard.domain import Submission
from scoreboard.tokens import SCOPE_REVIEW, mint
from server.backends.temporal import Workflows
from server.settings import ServerSettings
from tests.support.api import SECRET, Api, running_api
from tests.support.eventually import eventually
from tests.support.pipeline import NewWorker, Pipeline, hand_over, submission
from tests.support.services import Services
from worker.database.cases import Cases
from worker.database.ledger import Ledger
from worker.failpoints import Failpoints
from worker.recovery.open_cases import reopen_cases
from worker.recovery.replay import Replay, Replayed
from worker.workflows.board_refresh import ensure_schedule
from worker.workflows.fraud_review import CaseDecision, FraudReview

SUSPICIOUS = 5_000
SET_BACK = Path(__file__).parent / "sql" / "back.sql"


@pytest.fixture
def worker_settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    async def nobody(*_: object, **__: object) -> int:
        return 0

    # The worker looks once after its start, and would come first by chance.
    monkeypatch.setattr("worker.runtime.reopen_cases", nobody)
    return {"fraud_large_increment": 1_000}


def cases_of(pipeline: Pipeline) -> Cases:
    return Cases(pipeline.pool, Failpoints(""), None)


async def replay(pipeline: Pipeline, since: timedelta = timedelta(minutes=5)) -> Replayed:
    """What began that long ago or later, as far as Temporal's list shows it."""
    ledger = Ledger(pipeline.pool, Failpoints(""), pipeline.settings.fraud)
    once = Replay(
        pipeline.client, ledger, cases_of(pipeline), task_queue=pipeline.settings.task_queue
    )
    return await once.run(datetime.now(UTC) - since)


async def listed(pipeline: Pipeline, count: int, workflow: str = contract.BATCH_WORKFLOW) -> bool:
    query = f"TaskQueue = '{pipeline.settings.task_queue}' AND WorkflowType = '{workflow}'"
    found = [each async for each in pipeline.client.list_workflows(query)]
    return len(found) >= count


async def lose_everything_after(pipeline: Pipeline, seq: int) -> None:
    """As a replica that lacks what came after `seq`, or a restored backup."""
    async with pipeline.pool.connection() as connection:
        await query_all(
            connection,
            f"UPDATE users u JOIN (SELECT user_id, SUM(increment) i FROM ledger WHERE seq > {seq}"
            " GROUP BY user_id) l ON l.user_id = u.id SET u.score = u.score - l.i;"
            f" DELETE FROM ledger WHERE seq > {seq} OR seq IS NULL; DELETE FROM reviews;"
            f" UPDATE boards SET seq = {seq}; COMMIT",
        )


async def test_lost_submissions_come_back_exactly_once(
    pipeline: Pipeline,
) -> None:
    kept, lost = [submission(1, 10)], [submission(2, 7), submission(1, 20), submission(999, 1)]
    await pipeline.run(*kept)
    for item in lost:
        await pipeline.run(item)
    await eventually(lambda: listed(pipeline, 4))
    await lose_everything_after(pipeline, 1)

    first = await replay(pipeline)
    second = await replay(pipeline)

    assert (first.batches, first.submissions, first.brought_back) == (4, 4, 3)
    assert (second.batches, second.brought_back, second.unreadable) == (4, 0, 0)
    assert await pipeline.rows("SELECT id, score FROM users ORDER BY id") == [(1, 1530), (2, 1407)]
    rows = await pipeline.rows("SELECT HEX(submission_id) FROM ledger")
    assert sorted(rows) == sorted((item.id.hex().upper(),) for item in (*kept, *lost))
    await eventually(lambda: _shows(pipeline, [(1, 1530), (2, 1407)]))


async def test_what_lanes_took_comes_back_in_the_order_in_which_it_was_accepted(
    pipeline: Pipeline, failpoints: Path
) -> None:
    lanes = [Workflows(pipeline.client, pipeline.settings.task_queue) for _ in range(3)]
    # One of them goes on as a workflow of its own, and counts once all the same.
    failpoints.write_text("record.before_commit 1 raise\n")
    items = [submission(1, points) for points in range(1, 10)]
    for number, item in enumerate(items):
        await hand_over(lanes[number % 3], [item])
    await eventually(lambda: _decided(pipeline, len(items)))
    await eventually(lambda: listed(pipeline, 3, contract.LANE_WORKFLOW))
    await eventually(lambda: listed(pipeline, 1))
    await lose_everything_after(pipeline, 0)

    first = await replay(pipeline)
    second = await replay(pipeline)

    assert (first.batches, first.submissions, first.brought_back) == (9, 9, 9)
    assert (second.batches, second.brought_back, second.unreadable) == (9, 0, 0)
    rows = await pipeline.rows("SELECT increment FROM ledger ORDER BY seq")
    assert rows == [(item.increment,) for item in items]


async def _decided(pipeline: Pipeline, count: int) -> bool:
    return await pipeline.rows("SELECT COUNT(*) FROM ledger") == [(count,)]


async def test_a_replay_leaves_out_what_a_lane_took_before_that_time(pipeline: Pipeline) -> None:
    lane = Workflows(pipeline.client, pipeline.settings.task_queue)
    await hand_over(lane, [submission(1, 1)])
    await eventually(lambda: _decided(pipeline, 1))
    await eventually(lambda: listed(pipeline, 1, contract.LANE_WORKFLOW))
    since = datetime.now(UTC)
    await hand_over(lane, [submission(1, 2)])
    await eventually(lambda: _decided(pipeline, 2))

    found = await replay(pipeline, datetime.now(UTC) - since)

    assert found.batches == 1


async def test_a_replay_says_when_temporal_has_forgotten_a_part_of_that_time(
    pipeline: Pipeline,
) -> None:
    with capture_logs() as logs:
        await replay(pipeline)
        assert not [entry for entry in logs if "retention" in entry["event"]]
        await replay(pipeline, since=timedelta(days=365))

    [said] = [e for e in logs if e["event"] == "replay_reaches_behind_the_retention"]
    assert said["namespace"] == "default"
    assert said["retention_h"] > 0


async def test_the_command_prints_what_it_found_as_json(
    pipeline: Pipeline, services: Services, mysql_url: str, redis_url: str
) -> None:
    await pipeline.run(submission(1, 10), submission(2, 7))
    await eventually(lambda: listed(pipeline, 1))
    await lose_everything_after(pipeline, 0)
    environment = {
        **os.environ,
        "SCOREBOARD_MYSQL_URL": mysql_url,
        "SCOREBOARD_REDIS_URL": redis_url,
        "SCOREBOARD_TEMPORAL_ADDRESS": services.temporal_address,
        "SCOREBOARD_TASK_QUEUE": pipeline.settings.task_queue,
    }

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scoreboard_cli", "replay", "--since", "1h"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()

    assert process.returncode == 0
    found = json.loads(out)
    assert (found["submissions"], found["brought_back"]) == (2, 2)


async def _shows(pipeline: Pipeline, ranking: list[tuple[int, int]]) -> bool:
    return await pipeline.ranking() == ranking


async def test_the_log_line_of_a_set_back_ledger_names_the_command(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    await pipeline.run(submission(1, 10), submission(2, 7))
    await lose_everything_after(pipeline, 1)

    await eventually(lambda: _logged(capsys, "scoreboard replay --since"))


def _logged(capsys: pytest.CaptureFixture[str], words: str) -> bool:
    return words in "".join(capsys.readouterr())


def case_of(pipeline: Pipeline, item: Submission) -> Any:
    return pipeline.client.get_workflow_handle(contract.review_workflow_id(ids.text(item.id)))


async def test_a_decision_that_mysql_lost_comes_back_with_its_submission(
    pipeline: Pipeline,
) -> None:
    held = submission(1, SUSPICIOUS)
    await pipeline.run(held)
    await case_of(pipeline, held).execute_update(
        FraudReview.decide, CaseDecision(decision="approved", decided_by="reviewer")
    )
    await case_of(pipeline, held).result()
    await eventually(lambda: listed(pipeline, 1))
    await lose_everything_after(pipeline, 0)

    found = await replay(pipeline)

    assert (found.brought_back, found.held, found.decided) == (1, 1, 1)
    assert await pipeline.rows("SELECT decision, decided_by FROM reviews") == [
        ("approved", b"reviewer")
    ]
    assert await pipeline.rows("SELECT score FROM users WHERE id = 1") == [(1500 + SUSPICIOUS,)]


async def test_a_case_without_workflow_is_opened_again_and_keeps_its_limit(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.recovery.open_cases.YOUNG_S", 0)
    fresh, old = submission(1, SUSPICIOUS), submission(2, SUSPICIOUS)
    await pipeline.hold(fresh)
    await pipeline.hold(old)
    async with pipeline.pool.connection() as connection:
        await query_all(
            connection,
            "UPDATE reviews SET opened_at_us = opened_at_us - 3600000000"
            f" WHERE submission_id = x'{old.id.hex()}'; COMMIT",
        )

    async def reopen() -> int:
        return await reopen_cases(
            pipeline.client,
            cases_of(pipeline),
            task_queue=pipeline.settings.task_queue,
            limit_s=1800,
        )

    assert await reopen() == 2
    assert await asyncio.wait_for(case_of(pipeline, old).result(), 20) == "rejected_by_review"
    state = await case_of(pipeline, fresh).query(FraudReview.state)
    assert state.decision == ""
    assert await pipeline.rows("SELECT decision FROM reviews ORDER BY opened_at_us") == [
        ("expired",),
        (None,),
    ]
    await eventually(lambda: _reopens_none(reopen))


async def _reopens_none(reopen: Callable[[], Any]) -> bool:
    return bool(await reopen() == 0)


async def test_a_decision_about_a_case_that_temporal_lost_is_taken(
    settings: ServerSettings, worker: NewWorker
) -> None:
    async with worker() as pipeline:
        held = submission(1, SUSPICIOUS)
        await pipeline.hold(held)
        async with running_api(settings) as api:
            status, body = await _approve(api, held)
            again, _ = await _approve(api, held)
            unknown, _ = await _approve(api, submission(1, 1))

    assert (status, body["outcome"]) == (200, "applied")
    # The same decision by the same reviewer, in case the first answer was lost.
    assert (again, unknown) == (200, 404)


async def _approve(api: Api, item: Submission) -> tuple[int, dict[str, Any]]:
    bearer = mint(
        SECRET,
        subject="reviewer",
        now_s=int(datetime.now(UTC).timestamp()),
        ttl_s=600,
        scopes=(SCOPE_REVIEW,),
    )
    async with api.http.post(
        f"{api.url}{contract.REVIEWS_PATH}/{ids.text(item.id)}",
        json={"decision": "approve"},
        headers={"Authorization": f"Bearer {bearer}"},
    ) as response:
        return response.status, await response.json(content_type=None)


async def test_a_pause_by_an_operator_survives_a_deploy_with_another_interval(
    temporal_client: Client, task_queue: str
) -> None:
    await ensure_schedule(temporal_client, task_queue=task_queue, every_s=300)
    handle = temporal_client.get_schedule_handle(f"refresh-{task_queue}")
    await handle.pause(note="by the operator")

    await ensure_schedule(temporal_client, task_queue=task_queue, every_s=60)

    described = (await handle.describe()).schedule
    assert described.state.paused
    assert described.state.note == "by the operator"
    assert described.spec.intervals[0].every == timedelta(seconds=60)
    await handle.delete()


async def test_a_changed_policy_is_applied_though_the_interval_is_the_same(
    temporal_client: Client, task_queue: str
) -> None:
    await ensure_schedule(temporal_client, task_queue=task_queue, every_s=300)
    handle = temporal_client.get_schedule_handle(f"refresh-{task_queue}")

    def changed(found: ScheduleUpdateInput) -> ScheduleUpdate:
        found.description.schedule.policy.catchup_window = timedelta(seconds=999)
        return ScheduleUpdate(schedule=found.description.schedule)

    await handle.update(changed)

    await ensure_schedule(temporal_client, task_queue=task_queue, every_s=300)

    described = (await handle.describe()).schedule
    assert described.policy.catchup_window == timedelta(seconds=60)
    await handle.delete()
