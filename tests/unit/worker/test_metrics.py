"""What workers count, and where it is shown."""

import asyncio
import socket
import urllib.request

import pytest
from prometheus_client.registry import REGISTRY
from structlog.testing import capture_logs
from temporalio import activity
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from scoreboard.domain import LedgerRow, Outcome, Submission
from tests.support.reserved_ports import reserved_port
from worker.metrics import count_recorded
from worker.probes import HUNG_AFTER_S, WorkerState, serving_probes
from worker.step_watch import StepWatch


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Step(ActivityInboundInterceptor):
    """Stands for the activity itself."""

    def __init__(self, *, fails: bool) -> None:
        self.fails = fails

    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        del input
        if self.fails:
            raise RuntimeError("a backend is away")
        return 7


async def attempt(*, fails: bool, watch: StepWatch | None = None) -> object:
    """One timed attempt at a step called `unknown`, as the test environment names it."""

    @activity.defn
    async def step() -> object:
        timed = (watch or StepWatch()).intercept_activity(Step(fails=fails))
        return await timed.execute_activity(
            ExecuteActivityInput(fn=step, args=(), executor=None, headers={})
        )

    return await ActivityEnvironment().run(step)


async def test_each_attempt_at_a_step_is_timed_and_failures_are_counted() -> None:
    name = ActivityEnvironment().info.activity_type
    timed = value("scoreboard_worker_step_seconds_count", step=name)
    failed = value("scoreboard_worker_step_failures_total", step=name)

    assert await attempt(fails=False) == 7
    with pytest.raises(RuntimeError):
        await attempt(fails=True)

    assert value("scoreboard_worker_step_seconds_count", step=name) == timed + 2
    assert value("scoreboard_worker_step_failures_total", step=name) == failed + 1


async def test_a_failing_step_is_logged_once_with_reason_and_end() -> None:
    patient, impatient = StepWatch(), StepWatch(patience_s=0)

    with capture_logs() as logs:
        for watch in (patient, impatient, impatient):
            with pytest.raises(RuntimeError):
                await attempt(fails=True, watch=watch)
        await attempt(fails=False, watch=impatient)
        await attempt(fails=False, watch=impatient)

    assert [(entry["event"], entry.get("error")) for entry in logs] == [
        ("step_keeps_failing", "RuntimeError: a backend is away"),
        ("step_succeeds_again", None),
    ]


def test_recorded_submissions_are_counted_by_outcome() -> None:
    outcomes = [Outcome.APPLIED, Outcome.APPLIED, Outcome.UNKNOWN_USER]
    name = "scoreboard_worker_recorded_total"
    before = {outcome: value(name, outcome=outcome.value) for outcome in Outcome}
    submission = Submission(id=b"x" * 16, principal="1", user_id=1, increment=1, received_us=0)

    count_recorded(LedgerRow(submission=submission, outcome=outcome) for outcome in outcomes)

    after = {outcome: value(name, outcome=outcome.value) for outcome in Outcome}
    assert after[Outcome.APPLIED] - before[Outcome.APPLIED] == 2
    assert after[Outcome.UNKNOWN_USER] - before[Outcome.UNKNOWN_USER] == 1
    assert sum(after.values()) - sum(before.values()) == 3


def test_metrics_port_is_released_on_close() -> None:
    port = reserved_port()

    for _ in range(2):
        with (
            serving_probes("127.0.0.1", port, WorkerState()),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
        ):
            assert b"scoreboard_worker_step_seconds" in answer.read()


def test_port_zero_opens_nothing() -> None:
    with serving_probes("256.0.0.1", 0, WorkerState()):
        pass


def test_a_port_that_is_taken_is_an_error() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
        serving_probes("127.0.0.1", taken.getsockname()[1], WorkerState()),
    ):
        pass


def test_a_loop_that_hangs_fails_the_liveness_and_the_metrics_still_answer() -> None:
    now = 100.0
    state = WorkerState(clock=lambda: now)
    assert state.answer("/healthz")[0] == 200

    now += HUNG_AFTER_S + 1

    status, _, body = state.answer("/healthz")
    assert (status, b"hangs since 21 s" in body) == (503, True)
    assert state.answer("/metrics")[0] == 200
    assert state.answer("/elsewhere")[0] == 404


async def test_a_loop_that_turns_beats() -> None:
    now = 100.0
    state = WorkerState(clock=lambda: now)
    now += HUNG_AFTER_S + 1
    beating = asyncio.create_task(state.beat())
    await asyncio.sleep(0)
    beating.cancel()

    assert state.answer("/healthz")[0] == 200


def test_a_worker_is_ready_when_it_polls_and_its_services_work() -> None:
    state = WorkerState()
    assert state.answer("/readyz") == (
        503,
        "application/json",
        b'{"status": "not ready", "parts": ["worker"]}',
    )

    state.polling = True
    assert state.answer("/readyz")[0] == 200

    state.missing = lambda: ("redis",)
    assert state.answer("/readyz")[0] == 503
