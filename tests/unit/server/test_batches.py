"""Batches of submissions: each item has its own result, and refused ones cost no more than one."""

import asyncio
import secrets
from collections.abc import Callable

import pytest

from scoreboard import ids
from scoreboard.domain import Submission
from scoreboard.errors import FORBIDDEN, Problem
from server.submit.admission import AdmissionCode, AdmissionResult
from server.submit.batches import results, submit_each
from server.submit.refusals import RefusalAccounts, Refusals
from server.submit.submission import ParsedSubmission
from tests.unit.server.test_commit import Backends


def item(user_id: int = 1) -> ParsedSubmission:
    return ParsedSubmission(
        Submission(
            id=secrets.token_bytes(16),
            principal="hostile",
            user_id=user_id,
            increment=1,
            received_us=0,
        ),
        keyed=False,
    )


async def test_each_item_has_the_result_of_its_own_request() -> None:
    backends = Backends()
    committer = backends.committer()
    taken, forbidden = item(), Problem(FORBIDDEN, "Not yours.")

    outcomes = submit_each(committer, [taken, forbidden])
    found = await results(Refusals(backends.accounts), "hostile", [taken, forbidden], outcomes)

    assert [each.status for each in found] == [202, 403]
    assert found[0].submission_id == ids.text(taken.submission.id)
    await committer.close(1)


async def test_refused_batch_costs_one_timer_and_its_account_every_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backends = Backends()
    committer = backends.committer()
    first = item()
    backends.results[first.submission.id] = AdmissionResult(AdmissionCode.LIMITED, 9_000_000)
    with pytest.raises(Problem):
        await committer.submit(first.submission, keyed=False)
    loop = asyncio.get_running_loop()
    timers: list[float] = []

    def call_soon(delay_s: float, answer: Callable[..., object], *of: object) -> asyncio.Handle:
        timers.append(delay_s)
        return loop.call_soon(answer, *of)

    monkeypatch.setattr(loop, "call_later", call_soon)
    accounts = RefusalAccounts(clock=lambda: backends.now)
    items = [item() for _ in range(500)]

    found = await results(Refusals(accounts), "hostile", items, submit_each(committer, items))

    assert {each.status for each in found} == {429}
    assert timers == [1.0]
    assert accounts.overdrawn_s("hostile") == pytest.approx(0.5)
    assert len(backends.asked) == 1
    await committer.close(1)
