"""A machine whose clock is wrong: it says so and takes no work, and no commit goes back in time."""

import time

import pytest
from structlog.testing import capture_logs

from scoreboard.players.orders import Order, SetScore
from server.settings import ServerSettings
from tests.support.api import running_api
from tests.support.eventually import eventually
from tests.support.pipeline import Pipeline, submission

OFF_S = 120.0


@pytest.mark.parametrize("off_s", [-OFF_S, OFF_S], ids=["behind", "ahead"])
async def test_a_process_whose_clock_is_wrong_is_not_ready_and_heals(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch, off_s: float
) -> None:
    monkeypatch.setattr("adapters.health.clocks.CHECK_INTERVAL_S", 0.05)
    monkeypatch.setattr("adapters.health.START_PATIENCE_S", 0.0)
    with capture_logs() as logs:
        async with running_api(settings, embedded_worker=True) as api:
            assert (await api.submit(1, 10))[0] == 202
            monkeypatch.setattr("adapters.health.clocks.now", lambda: time.time() + off_s)

            async def refuses() -> bool:
                status, body, _ = await api.get("/readyz")
                return bool((status, body.get("parts")) == (503, ["clock"]))

            await eventually(refuses)
            # Not 401: the token is good, this machine is not.
            assert (await api.submit(1, 10, bearer="not a token"))[0] == 503
            assert (await api.submit(1, 10))[0] == 503
            assert len(await api.scores()) == 2

            monkeypatch.setattr("adapters.health.clocks.now", time.time)

            async def accepts() -> bool:
                return (await api.submit(1, 10))[0] == 202

            await eventually(accepts)

    said = [str(e["error"]) for e in logs if e.get("service") == "clock" and "error" in e]
    assert f"{'behind' if off_s < 0 else 'ahead of'} those of Redis and MySQL" in said[0]


async def test_a_commit_is_never_before_the_one_under_the_number_before(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pipeline.run(submission(1, 1))
    real = time.time_ns
    monkeypatch.setattr(
        "worker.database.transactions.time.time_ns", lambda: real() - int(OFF_S * 1e9)
    )
    await pipeline.run(submission(2, 1))
    action = SetScore(user_id=1, score=5, reason="a test")
    await pipeline.carry_out(Order(id=bytes(16), actor="olga", action=action))
    monkeypatch.setattr("worker.database.transactions.time.time_ns", real)
    await pipeline.run(submission(1, 1))

    rows = await pipeline.rows("SELECT committed_at_us FROM ledger ORDER BY seq")
    assert rows == sorted(rows)
    assert rows[0] == rows[1] == rows[2]
