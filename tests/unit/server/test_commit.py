"""Group commit: all waiting submissions go together, and each gets a response."""

import asyncio
import secrets
from collections.abc import Sequence

import pytest
from temporalio.service import RPCError, RPCStatusCode

from scoreboard import contract
from scoreboard.domain import Submission
from scoreboard.errors import Problem
from server.submit import commit
from server.submit.admission import AdmissionCode, AdmissionResult, Item
from server.submit.commit import Committer
from server.submit.inflight_window import InflightWindow
from server.submit.refusals import RefusalAccounts, Refusals
from tests.support.eventually import eventually, settled


def submission(
    increment: int = 10,
    *,
    name: bytes | None = None,
    principal: str | None = None,
    user_id: int = 1,
) -> Submission:
    """One of a principal of its own, unless that is given."""
    return Submission(
        id=name or secrets.token_bytes(16),
        principal=secrets.token_hex(4) if principal is None else principal,
        user_id=user_id,
        increment=increment,
        received_us=0,
    )


class Backends:
    """Admits everything and starts batches when the test lets it."""

    window: InflightWindow
    """That of the last committer."""

    def __init__(self) -> None:
        self.now = 0.0
        self.start_takes_s = 0.0
        self.results: dict[bytes, AdmissionResult] = {}
        self.asked: list[list[Item]] = []
        self.batches: list[list[Submission]] = []
        self.batch_ids: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.start_error: Exception | None = None
        self.admit_error: Exception | None = None
        self.accounts = RefusalAccounts(clock=lambda: self.now)

    async def admit(self, items: Sequence[Item]) -> list[AdmissionResult]:
        if self.admit_error:
            raise self.admit_error
        self.asked.append(list(items))
        admitted = AdmissionResult(AdmissionCode.ADMITTED, 0)
        return [self.results.get(item.submission.id, admitted) for item in items]

    async def start(self, batch_id: str, payload: bytes, *, timeout_s: float) -> None:
        assert timeout_s > 0
        self.batches.append(contract.decode_batch(payload))
        self.batch_ids.append(batch_id)
        self.now += self.start_takes_s
        await self.gate.wait()
        if self.start_error:
            raise self.start_error

    def committer(self, **changes: int | float) -> Committer:
        limits = {"batch_max": 500, "in_flight_max": 1, "queue_max": 1000, "timeout_s": 5.0}
        committer = Committer(
            self.admit,
            self.start,
            clock=lambda: self.now,
            running_usual=4,
            running_max=4,
            refusals=Refusals(self.accounts),
            **{**limits, **changes},  # type: ignore[arg-type]
        )
        self.window = committer.window
        return committer


@pytest.fixture
async def backends() -> Backends:
    return Backends()


async def refusal(waiter: "asyncio.Future[int]") -> str:
    with pytest.raises(Problem) as refused:
        await asyncio.wait_for(waiter, 5)
    return refused.value.kind.code


def code_now(waiter: "asyncio.Future[int]") -> str:
    """The code of a refusal that has been given already."""
    assert waiter.done()
    problem = waiter.exception()
    assert isinstance(problem, Problem)
    return problem.kind.code


async def test_an_idle_committer_starts_a_batch_of_one_at_once(backends: Backends) -> None:
    only = submission()

    await asyncio.wait_for(backends.committer().submit(only, keyed=False), 1)

    assert backends.batches == [[only]]


async def test_submissions_during_a_start_form_the_next_batch(
    backends: Backends,
) -> None:
    backends.gate.clear()
    committer = backends.committer()
    first = committer.submit(submission(), keyed=False)
    await eventually(lambda: len(backends.batches) == 1)
    rest = [committer.submit(submission(), keyed=False) for _ in range(30)]
    await settled()
    assert len(backends.batches) == 1

    backends.gate.set()

    await asyncio.wait_for(asyncio.gather(first, *rest), 1)
    assert [len(batch) for batch in backends.batches] == [1, 30]


async def test_a_batch_holds_no_more_than_it_may(backends: Backends) -> None:
    committer = backends.committer(batch_max=8)
    backends.start_takes_s = 0.02

    waiters = [committer.submit(submission(), keyed=False) for _ in range(20)]

    await asyncio.wait_for(asyncio.gather(*waiters), 1)
    assert [len(batch) for batch in backends.batches] == [8, 8, 4]


async def test_submissions_keep_their_order(backends: Backends) -> None:
    committer = backends.committer()
    submissions = [submission(n) for n in range(1, 50)]

    waiters = [committer.submit(item, keyed=False) for item in submissions]

    await asyncio.wait_for(asyncio.gather(*waiters), 1)
    assert [item for batch in backends.batches for item in batch] == submissions


async def test_the_same_submission_at_the_same_time_is_one(backends: Backends) -> None:
    backends.gate.clear()
    committer = backends.committer()
    once = submission()

    waiters = [committer.submit(once, keyed=True) for _ in range(10)]
    await eventually(lambda: len(backends.batches) == 1)
    # Also those that come while it is under way.
    waiters += [committer.submit(once, keyed=True) for _ in range(40)]
    backends.gate.set()

    await asyncio.wait_for(asyncio.gather(*waiters), 1)
    assert backends.batches == [[once]]
    assert committer.waiting == 0


async def test_the_same_id_with_another_body_is_refused(backends: Backends) -> None:
    committer = backends.committer()
    once = submission(10)
    waiter = committer.submit(once, keyed=True)

    with pytest.raises(Problem) as refused:
        committer.submit(submission(11, name=once.id), keyed=True)

    assert refused.value.kind.code == "idempotency_key_reused"
    await asyncio.wait_for(waiter, 1)


async def test_refused_submissions_do_not_reach_the_workflow(backends: Backends) -> None:
    good, limited, conflicting = submission(1), submission(2), submission(3)
    backends.results = {
        limited.id: AdmissionResult(AdmissionCode.LIMITED, 2_500_000),
        conflicting.id: AdmissionResult(AdmissionCode.CONFLICT, 0),
    }
    committer = backends.committer()

    waiters = [committer.submit(item, keyed=True) for item in (limited, good, conflicting)]

    with pytest.raises(Problem) as refused:
        await waiters[0]
    assert (refused.value.kind.code, refused.value.retry_after_s) == ("rate_limited", 3)
    await waiters[1]
    assert await refusal(waiters[2]) == "idempotency_key_reused"
    assert backends.batches == [[good]]


async def test_a_batch_with_nothing_admitted_starts_no_workflow(backends: Backends) -> None:
    only = submission()
    backends.results = {only.id: AdmissionResult(AdmissionCode.LIMITED, 1)}

    assert await refusal(backends.committer().submit(only, keyed=False)) == "rate_limited"
    assert backends.batches == []
    assert len(backends.window) == 0


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError()])
@pytest.mark.parametrize("backend", ["admit_error", "start_error"])
async def test_unavailable_backend_fails_all_waiting_submissions(
    backends: Backends, backend: str, error: Exception
) -> None:
    setattr(backends, backend, error)
    committer = backends.committer()

    waiters = [committer.submit(submission(), keyed=False) for _ in range(3)]

    assert [await refusal(waiter) for waiter in waiters] == ["unavailable"] * 3
    assert len(backends.window) == 0
    assert committer.waiting == 0


async def test_after_a_failure_the_next_submission_is_tried_again(backends: Backends) -> None:
    committer = backends.committer()
    backends.start_error = TimeoutError()
    assert await refusal(committer.submit(submission(), keyed=False)) == "unavailable"

    backends.start_error = None

    await asyncio.wait_for(committer.submit(submission(), keyed=False), 1)


async def test_a_start_that_hangs_is_given_up(backends: Backends) -> None:
    backends.gate.clear()

    waiter = backends.committer(timeout_s=0.1).submit(submission(), keyed=False)

    assert await refusal(waiter) == "unavailable"


async def test_a_full_queue_refuses_at_once(backends: Backends) -> None:
    backends.gate.clear()
    committer = backends.committer(queue_max=5)
    backends.start_takes_s = 0.02
    waiters = [committer.submit(submission(), keyed=False) for _ in range(5)]

    with pytest.raises(Problem) as refused:
        committer.submit(submission(), keyed=False)

    assert refused.value.kind.code == "overloaded"
    assert refused.value.retry_after_s
    backends.gate.set()
    await asyncio.wait_for(asyncio.gather(*waiters), 1)
    await asyncio.wait_for(committer.submit(submission(), keyed=False), 1)


async def test_unfinished_batches_are_bounded_and_announcements_make_room(
    backends: Backends,
) -> None:
    committer = backends.committer()
    for _ in range(4):
        await asyncio.wait_for(committer.submit(submission(), keyed=False), 1)

    waiting = [committer.submit(submission(), keyed=False) for _ in range(7)]
    await settled()
    assert len(backends.batches) == 4

    backends.window.discard(backends.batch_ids[0])

    await asyncio.wait_for(asyncio.gather(*waiting), 1)
    assert [len(batch) for batch in backends.batches] == [1, 1, 1, 1, 7]


async def test_waiting_batch_starts_without_another_submission(
    backends: Backends,
) -> None:
    committer = backends.committer()
    backends.window.add("before", backends.window.begin())
    backends.now += 0.4
    backends.window.discard("before")
    await asyncio.wait_for(committer.submit(submission(), keyed=False), 1)
    waiting = committer.submit(submission(), keyed=False)
    await settled()
    assert len(backends.batches) == 1

    backends.now += 0.1

    await asyncio.wait_for(waiting, 1)
    assert len(backends.batches) == 2


async def test_when_nothing_finishes_submissions_are_refused_without_waiting(
    backends: Backends,
) -> None:
    committer = backends.committer()
    for _ in range(4):
        await asyncio.wait_for(committer.submit(submission(), keyed=False), 1)

    backends.now += 10

    with pytest.raises(Problem) as refused:
        committer.submit(submission(), keyed=False)
    assert refused.value.kind.status == 503


async def test_waiting_too_long_for_a_batch_ends_in_an_answer(backends: Backends) -> None:
    committer = backends.committer()
    for _ in range(4):
        await asyncio.wait_for(committer.submit(submission(), keyed=False), 1)
    sweeper = asyncio.create_task(committer.sweep())
    waiter = committer.submit(submission(), keyed=False)

    backends.now += 6

    assert await refusal(waiter) == "overloaded"
    sweeper.cancel()


async def test_a_client_that_goes_away_takes_nobody_with_it(backends: Backends) -> None:
    backends.gate.clear()
    committer = backends.committer()
    once = submission()
    gone, stays = committer.submit(once, keyed=True), committer.submit(once, keyed=True)
    await settled()

    gone.cancel()
    backends.gate.set()

    await asyncio.wait_for(stays, 1)
    assert committer.waiting == 0


async def test_close_refuses_running_queued_and_new_submissions_at_once(
    backends: Backends,
) -> None:
    backends.gate.clear()
    committer = backends.committer()
    running = committer.submit(submission(), keyed=False)
    await eventually(lambda: len(backends.batches) == 1)
    queued = [committer.submit(submission(), keyed=False) for _ in range(3)]

    async with asyncio.timeout(1):
        await committer.close(0.05)

    # No await in between: each has its answer when close returns.
    assert [code_now(waiter) for waiter in (running, *queued)] == ["unavailable"] * 4
    assert committer.waiting == 0
    with pytest.raises(Problem):
        committer.submit(submission(), keyed=False)


async def test_committer_starts_no_batch_after_close(backends: Backends) -> None:
    backends.gate.clear()
    committer = backends.committer()
    running = committer.submit(submission(), keyed=False)
    await eventually(lambda: len(backends.batches) == 1)
    queued = committer.submit(submission(), keyed=False)
    sweeper = asyncio.create_task(committer.sweep())

    await committer.close(0.05)
    backends.gate.set()
    backends.window.discard("unknown")
    backends.now += 1
    await asyncio.sleep(2 * commit.SWEEP_INTERVAL_S)

    assert len(backends.batches) == 1
    assert (code_now(running), code_now(queued)) == ("unavailable", "unavailable")
    assert asyncio.all_tasks() == {asyncio.current_task(), sweeper}
    sweeper.cancel()


async def test_close_before_the_first_step_of_a_batch_answers_its_submissions(
    backends: Backends,
) -> None:
    """A task that is cancelled before it ran never enters its own `except`."""
    committer = backends.committer()
    # In one turn of the loop: close begins to wait, is cancelled, and the batch's task is made.
    closing = asyncio.create_task(committer.close(60))
    asyncio.get_running_loop().call_soon(closing.cancel)
    waiter = committer.submit(submission(), keyed=False)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(closing, 1)

    assert code_now(waiter) == "unavailable"
    assert backends.batches == []


async def test_close_that_is_cancelled_still_answers_everybody(backends: Backends) -> None:
    backends.gate.clear()
    committer = backends.committer()
    running = committer.submit(submission(), keyed=False)
    await eventually(lambda: len(backends.batches) == 1)
    queued = committer.submit(submission(), keyed=False)

    closing = asyncio.create_task(committer.close(60))
    await asyncio.sleep(0)
    closing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(closing, 1)
    assert (code_now(running), code_now(queued)) == ("unavailable", "unavailable")


async def test_close_commits_queued_submissions_while_time_is_left(backends: Backends) -> None:
    backends.gate.clear()
    committer = backends.committer()
    waiters = [committer.submit(submission(), keyed=False)]
    await eventually(lambda: len(backends.batches) == 1)
    waiters += [committer.submit(submission(), keyed=False) for _ in range(3)]

    closing = asyncio.create_task(committer.close(5))
    await asyncio.sleep(0)
    backends.gate.set()

    await asyncio.wait_for(closing, 1)
    assert [waiter.exception() for waiter in waiters] == [None] * 4
    assert [len(batch) for batch in backends.batches] == [1, 3]


async def test_close_waits_for_batches_in_flight(backends: Backends) -> None:
    backends.gate.clear()
    committer = backends.committer()
    waiter = committer.submit(submission(), keyed=False)
    await eventually(lambda: len(backends.batches) == 1)

    closing = asyncio.create_task(committer.close(5))
    await settled()
    backends.gate.set()

    await asyncio.wait_for(closing, 1)
    assert waiter.done()
    assert waiter.exception() is None


# One principal's excess


async def test_excess_of_one_principal_leaves_room_for_others(backends: Backends) -> None:
    backends.gate.clear()
    committer = backends.committer(queue_max=100)
    hostile = [committer.submit(submission(principal="hostile"), keyed=False) for _ in range(50)]
    with pytest.raises(Problem) as refused:
        committer.submit(submission(principal="hostile"), keyed=False)
    assert (refused.value.kind.code, refused.value.kind.status) == ("rate_limited", 429)
    others = [committer.submit(submission(principal=str(n)), keyed=False) for n in range(49)]
    backends.gate.set()

    await asyncio.wait_for(asyncio.gather(*hostile, *others), 5)


async def test_others_are_in_the_next_batch_however_long_one_line_is(backends: Backends) -> None:
    committer = backends.committer(batch_max=40, queue_max=1000)
    backends.gate.clear()
    waits = [committer.submit(submission(principal="first"), keyed=False)]
    await eventually(lambda: len(backends.batches) == 1)
    waits += [committer.submit(submission(principal="hostile"), keyed=False) for _ in range(100)]
    waits += [committer.submit(submission(principal=f"p{n}"), keyed=False) for n in range(3)]
    backends.gate.set()

    await asyncio.wait_for(asyncio.gather(*waits[-3:]), 5)

    second = [item.principal for item in backends.batches[1]]
    assert second.count("hostile") == 10
    assert {"p0", "p1", "p2"} <= set(second)
    await committer.close(0)


async def test_a_principal_that_is_alone_fills_whole_batches(backends: Backends) -> None:
    committer = backends.committer(batch_max=40, queue_max=1000)
    waits = [committer.submit(submission(principal="loader"), keyed=False) for _ in range(130)]

    await asyncio.wait_for(asyncio.gather(*waits), 5)

    assert [len(batch) for batch in backends.batches] == [10, 40, 40, 40]


async def test_a_user_over_its_limit_is_refused_without_asking_redis(backends: Backends) -> None:
    committer = backends.committer()
    over = submission()
    backends.results[over.id] = AdmissionResult(AdmissionCode.LIMITED, 7_500_000)
    assert await refusal(committer.submit(over, keyed=False)) == "rate_limited"

    refused = committer.submit(submission(), keyed=False).exception()

    assert isinstance(refused, Problem)
    assert (refused.kind.code, refused.retry_after_s) == ("rate_limited", 8)
    assert len(backends.asked) == 1
    assert committer.counts.rate_limited == 2
    await asyncio.wait_for(committer.submit(submission(user_id=2), keyed=False), 1)
    # A repeat of a known key is free.
    await asyncio.wait_for(committer.submit(submission(), keyed=True), 1)
    backends.now += 7.5
    await asyncio.wait_for(committer.submit(submission(), keyed=False), 1)


async def test_refusals_at_full_speed_wait_and_are_answered_when_closing(
    backends: Backends,
) -> None:
    backends.accounts = RefusalAccounts(per_s=10, clock=lambda: backends.now)
    committer = backends.committer()
    over = submission()
    backends.results[over.id] = AdmissionResult(AdmissionCode.LIMITED, 7_500_000)
    assert await refusal(committer.submit(over, keyed=False)) == "rate_limited"
    waiters = [committer.submit(submission(principal="hostile"), keyed=False) for _ in range(30)]
    later = [waiter for waiter in waiters if not waiter.done()]
    assert len(later) == 20
    assert {code_now(waiter) for waiter in waiters if waiter.done()} == {"rate_limited"}
    another = committer.submit(submission(principal="another"), keyed=False)
    assert code_now(another) == "rate_limited"

    await committer.close(1.0)

    assert {code_now(waiter) for waiter in later} == {"unavailable"}


async def test_batches_that_temporal_finds_too_large_become_smaller(backends: Backends) -> None:
    committer = backends.committer(batch_max=8)
    backends.start_error = RPCError(
        "Blob data size exceeds limit.", RPCStatusCode.INVALID_ARGUMENT, b""
    )
    refused = [committer.submit(submission(), keyed=True) for _ in range(8)]
    await asyncio.wait(refused)
    assert all(isinstance(future.exception(), Problem) for future in refused)

    backends.start_error = None
    taken = [committer.submit(submission(), keyed=True) for _ in range(8)]
    await asyncio.gather(*taken)

    assert [len(batch) for batch in backends.batches] == [8, 4, 4]
    await committer.close(1)


async def test_another_refusal_of_temporal_leaves_the_size_of_batches(backends: Backends) -> None:
    committer = backends.committer(batch_max=8)
    backends.start_error = RPCError(
        "namespace rate limit exceeded", RPCStatusCode.RESOURCE_EXHAUSTED, b""
    )
    await asyncio.wait([committer.submit(submission(), keyed=True) for _ in range(8)])

    backends.start_error = None
    await asyncio.gather(*(committer.submit(submission(), keyed=True) for _ in range(8)))

    assert [len(batch) for batch in backends.batches] == [8, 8]
    await committer.close(1)
