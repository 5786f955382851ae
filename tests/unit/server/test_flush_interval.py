"""The flush interval bounds writes per second, and is short while writing is cheap."""

import pytest

from server.stream.flush_interval import MAX_WRITES_PER_S, flush_interval_s


@pytest.mark.parametrize(
    ("listeners", "expected_s"),
    [(0, 0), (1, 0.0001), (100, 0.01), (1000, 0.1), (5000, 0.1), (12_800, 0.2), (64_000, 1.0)],
)
def test_tick_grows_with_the_listeners(listeners: int, expected_s: float) -> None:
    assert flush_interval_s(listeners, 0.1, 0.0) == pytest.approx(expected_s)


@pytest.mark.parametrize("listeners", [1, 10, 999, 6400, 10_000, 50_000])
def test_writes_per_second_are_bounded(listeners: int) -> None:
    assert listeners / flush_interval_s(listeners, 0.1, 0.0) <= MAX_WRITES_PER_S * 1.0001


def test_slow_broadcasts_leave_a_third_of_the_time_to_others() -> None:
    assert flush_interval_s(1000, 0.1, 0.4) == pytest.approx(0.6)
