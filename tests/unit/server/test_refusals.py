"""What a principal's refusals cost it: waiting, and then the right to have its batches read."""

from types import SimpleNamespace
from typing import Any

import pytest

from scoreboard.errors import FORBIDDEN, RATE_LIMITED, UNAVAILABLE, Problem
from scoreboard.tokens import SCOPE_ANY_USER, Principal
from server.submit import refusals
from server.submit.refusals import RefusalAccounts, Refusals, RefusedRequests, weight


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def principal(*scopes: str) -> Principal:
    return Principal(subject="hostile", scopes=frozenset(scopes), expires_s=0)


def test_refusals_of_a_principal_wait_no_longer_than_a_second() -> None:
    accounts = RefusalAccounts(per_s=10, clock=Clock())

    delays = [accounts.charge("hostile") for _ in range(100)]

    assert delays[:10] == [0.0] * 10
    assert delays[11] == pytest.approx(0.2)
    assert delays[-1] == 1.0
    assert accounts.charge("another") == 0.0


def test_account_of_one_second_is_not_overdrawn() -> None:
    accounts = RefusalAccounts(per_s=10, clock=Clock())

    accounts.charge("hostile", 20)

    assert accounts.overdrawn_s("hostile") == 0.0
    accounts.charge("hostile")
    assert accounts.overdrawn_s("hostile") == pytest.approx(0.1)
    assert accounts.overdrawn_s("another") == 0.0


def test_overdrawn_account_is_forgiven_within_its_bound() -> None:
    clock = Clock()
    accounts = RefusalAccounts(per_s=10, debt_max_s=5.0, clock=clock)
    accounts.charge("hostile", 100_000)

    assert accounts.overdrawn_s("hostile") == 4.0
    clock.now += 4.0

    assert accounts.overdrawn_s("hostile") == 0.0
    clock.now += 2.0
    assert accounts.charge("hostile", 10) == 0.0


def test_accounts_are_bounded() -> None:
    accounts = RefusalAccounts(clock=Clock())

    for number in range(refusals.KNOWN_MAX + 5):
        accounts.charge(str(number), 500)

    assert len(accounts._level_at) <= refusals.KNOWN_MAX


async def test_principal_of_many_users_is_never_refused_unread() -> None:
    refused = Refusals(RefusalAccounts(clock=Clock()))
    later = refused.later("hostile", Problem(FORBIDDEN, "no"), 1000)

    refused.check(principal(SCOPE_ANY_USER))
    with pytest.raises(Problem) as problem:
        refused.check(principal())

    assert (problem.value.kind, problem.value.retry_after_s) == (RATE_LIMITED, 3)
    refused.close(Problem(UNAVAILABLE, "closing"))
    assert isinstance(later.exception(), Problem)


def request(address: str, principal: str | None = None, body: bytes = b"") -> Any:
    ctx = SimpleNamespace() if principal is None else SimpleNamespace(principal=principal)
    return SimpleNamespace(ip=address, ctx=ctx, body=body)


async def test_refused_request_counts_for_its_principal_or_else_for_its_address() -> None:
    clock = Clock()
    refused = RefusedRequests(
        Refusals(RefusalAccounts(per_s=10, clock=clock)),
        lambda asked: asked.ip or None,
        RefusalAccounts(per_s=10, clock=clock),
    )
    for _ in range(10):
        assert refused.delay_s(request("one", "1")) == 0.0
        assert refused.delay_s(request("one")) == 0.0
        assert refused.delay_s(request("")) == 0.0

    assert refused.delay_s(request("two", "1")) == pytest.approx(0.1)
    assert refused.delay_s(request("one")) == pytest.approx(0.1)
    assert refused.delay_s(request("two")) == 0.0
    assert refused.delay_s(request("")) == 0.0


async def test_refused_body_is_counted_and_not_kept() -> None:
    refused = RefusedRequests(Refusals(RefusalAccounts(clock=Clock())), lambda _: None)
    large = request("one", "1", b"x" * 512 * 1024)

    assert refused.delay_s(large) == 1.0
    assert large.body == b""


def test_refused_body_counts_by_its_length() -> None:
    assert weight(b"") == 1
    assert weight(b"x" * 96 * 1024) > 100
