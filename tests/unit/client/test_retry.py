"""When the client tries again, without a clock or a network."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreboard_client.retry import RetryPolicy, parse_retry_after

POLICY = RetryPolicy(attempts=5, initial_s=0.1, factor=2.0, max_s=1.0, deadline_s=10.0)


@given(failures=st.integers(1, 10_000), seed=st.integers())
def test_backoff_stays_between_zero_and_its_ceiling(failures: int, seed: int) -> None:
    wait = POLICY.backoff_s(failures, random.Random(seed))

    assert 0 <= wait <= min(1.0, 0.1 * 2 ** (min(failures, 10) - 1))


def test_backoff_grows_with_failures_and_is_spread() -> None:
    rng = random.Random(7)
    first = [POLICY.backoff_s(1, rng) for _ in range(400)]
    fourth = [POLICY.backoff_s(4, rng) for _ in range(400)]

    assert 0.04 < sum(first) / 400 < 0.06
    assert 0.36 < sum(fourth) / 400 < 0.44
    assert len(set(fourth)) == 400


@given(retry_after=st.floats(0, 5), seed=st.integers())
def test_never_returns_before_retry_after(retry_after: float, seed: int) -> None:
    wait = POLICY.wait_s(1, elapsed_s=0.0, retry_after_s=retry_after, rng=random.Random(seed))

    assert wait is not None
    assert retry_after <= wait <= retry_after + 0.1


def test_gives_up_after_the_last_attempt() -> None:
    rng = random.Random(1)

    assert POLICY.wait_s(4, elapsed_s=0, retry_after_s=None, rng=rng) is not None
    assert POLICY.wait_s(5, elapsed_s=0, retry_after_s=None, rng=rng) is None


def test_gives_up_when_the_wait_would_pass_the_deadline() -> None:
    assert POLICY.wait_s(1, elapsed_s=1.0, retry_after_s=9.5, rng=random.Random(1)) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 17 ", 17.0),
        ("9" * 400, 999_999_999.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_reads_retry_after_as_seconds_or_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now_s=10.0) == seconds


@pytest.mark.parametrize(
    "bounds", [{"attempts": 0}, {"initial_s": 0.0}, {"factor": 0.5}, {"deadline_s": 0.0}]
)
def test_refuses_bounds_that_make_no_policy(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(**bounds)  # type: ignore[arg-type]
