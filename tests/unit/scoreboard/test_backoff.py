"""Delays between attempts."""

import pytest

from scoreboard import backoff
from scoreboard.backoff import Backoff

POLICIES = {name: value for name, value in vars(backoff).items() if isinstance(value, Backoff)}


def test_delays_grow_by_the_factor_up_to_the_maximum() -> None:
    policy = Backoff(first_s=0.25, factor=2.0, max_s=1.5)

    assert [policy.delay_s(failures) for failures in range(5)] == [0.25, 0.5, 1.0, 1.5, 1.5]


def test_delay_stays_at_the_maximum_after_any_number_of_failures() -> None:
    assert Backoff(first_s=0.25, factor=2.0, max_s=1.0).delay_s(10**9) == 1.0


def test_constant_delay_never_grows() -> None:
    policy = Backoff(first_s=0.5)

    assert {policy.delay_s(failures) for failures in (0, 1, 10**9)} == {0.5}


def test_jitter_spreads_over_the_whole_delay() -> None:
    policy = Backoff(first_s=2.0)

    assert [policy.jittered_s(0, chance) for chance in (0.0, 0.5, 1.0)] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_has_a_bounded_delay_above_zero(name: str) -> None:
    policy = POLICIES[name]

    assert 0 < policy.first_s <= policy.max_s <= 60
    assert policy.factor >= 1


def test_a_transaction_waits_at_most_three_seconds_in_all() -> None:
    policy = backoff.TRANSACTION
    longest_s = sum(policy.delay_s(failures) for failures in range(policy.attempts_max - 1))

    assert longest_s == pytest.approx(2.54)
