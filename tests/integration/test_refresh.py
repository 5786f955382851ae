"""The refresh finds drift, mends it, and does not disturb traffic."""

import asyncio

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError

from adapters.mysql import query_all
from scoreboard import contract
from tests.support.eventually import eventually
from tests.support.pipeline import NewWorker, Pipeline, submission
from worker.workflows.board_refresh import BoardRefresh, RefreshReport


@pytest_asyncio.fixture
async def pipeline(pipeline: Pipeline) -> Pipeline:
    await pipeline.run(submission(1, 10), submission(2, 10))
    return pipeline


async def refresh(pipeline: Pipeline) -> RefreshReport:
    queue = pipeline.settings.task_queue
    return await pipeline.client.execute_workflow(
        BoardRefresh.run, id=f"refresh-now-{queue}", task_queue=queue
    )


async def test_a_right_ranking_shows_no_drift(pipeline: Pipeline) -> None:
    report = await refresh(pipeline)

    assert (report.users, report.wrong, report.missing, report.surplus) == (2, 0, 0, 0)
    assert report.seq == 2


async def test_wrong_missing_and_surplus_users_are_repaired_and_counted(pipeline: Pipeline) -> None:
    counted: list[tuple[int, int, int]] = []
    # The worker compares by itself each second: it may come first, and then nothing is left.
    while (1, 1, 1) not in counted and len(counted) < 20:
        alice, bob = await pipeline.redis.hmget(contract.MEMBERS_KEY, ["1", "2"])
        ghost = contract.ranking_member(77, 1, "Ghost")
        async with pipeline.redis.pipeline(transaction=True) as planting:
            planting.zadd(contract.RANKING_KEY, {alice: -1})
            planting.zrem(contract.RANKING_KEY, bob)
            planting.hdel(contract.MEMBERS_KEY, "2")
            planting.zadd(contract.RANKING_KEY, {ghost: -9999})
            planting.hset(contract.MEMBERS_KEY, "77", ghost)
            await planting.execute()

        report = await refresh(pipeline)

        counted.append((report.wrong, report.missing, report.surplus))
        assert await pipeline.ranking() == [(1, 1510), (2, 1410)]
    assert counted[-1] == (1, 1, 1)
    assert set(counted) <= {(0, 0, 0), (1, 1, 1)}


async def test_users_added_renamed_and_removed_by_hand_are_shown_by_the_next_refresh(
    pipeline: Pipeline,
) -> None:
    async with pipeline.pool.connection() as connection:
        await query_all(
            connection,
            "INSERT INTO users (name, score) VALUES ('Zed', 900000);"
            " UPDATE users SET name = 'Alicia' WHERE id = 1;"
            " DELETE FROM users WHERE id = 2; COMMIT",
        )
    handle = pipeline.client.get_schedule_handle(f"refresh-{pipeline.settings.task_queue}")

    await eventually(lambda: seconds_between_refreshes(pipeline))
    await handle.trigger()

    async def shown() -> bool:
        entries = await pipeline.redis.zrange(contract.RANKING_KEY, 0, -1, withscores=True)
        return [(member[16:].decode(), int(-score)) for member, score in entries] == [
            ("Zed", 900000),
            ("Alicia", 1510),
        ]

    await eventually(shown)


async def test_a_refresh_under_traffic_loses_no_change(pipeline: Pipeline) -> None:
    batches = [pipeline.run(submission(1, 1), submission(2, 1)) for _ in range(30)]

    await asyncio.gather(refresh(pipeline), *batches)

    assert await pipeline.ranking() == [(1, 1540), (2, 1440)]
    assert [change.seq for change in await pipeline.streamed()] == list(range(1, 63))


async def test_user_gaining_points_during_a_refresh_is_not_drift(pipeline: Pipeline) -> None:
    reports: list[RefreshReport] = []
    board = pipeline.board()

    async def gain() -> None:
        while len(reports) < 200:
            await pipeline.run(submission(1, 1), submission(2, 1))

    async def look() -> None:
        while len(reports) < 200:
            reports.append(await board.refresh(lambda: None))

    await asyncio.gather(gain(), look())

    assert {(report.wrong, report.missing, report.surplus) for report in reports} == {(0, 0, 0)}


async def seconds_between_refreshes(pipeline: Pipeline) -> float | None:
    handle = pipeline.client.get_schedule_handle(f"refresh-{pipeline.settings.task_queue}")
    try:
        description = await handle.describe()
    except RPCError:
        return None
    return description.schedule.spec.intervals[0].every.total_seconds()


async def test_the_refresh_is_scheduled(pipeline: Pipeline) -> None:
    assert await eventually(lambda: seconds_between_refreshes(pipeline)) == 300


async def test_a_schedule_that_temporal_lost_is_set_again(
    monkeypatch: pytest.MonkeyPatch, worker: NewWorker, temporal_client: Client, task_queue: str
) -> None:
    monkeypatch.setattr("worker.runtime.SCHEDULE_LOOK_S", 0.2)
    async with worker() as pipeline:
        await eventually(lambda: seconds_between_refreshes(pipeline))

        await temporal_client.get_schedule_handle(f"refresh-{task_queue}").delete()

        assert await eventually(lambda: seconds_between_refreshes(pipeline)) == 300
