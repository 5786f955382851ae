"""Batches go to one lane until it has its share; then to the next one."""

import pytest

from server.backends import lane as module
from server.backends.lane import Lane


def test_a_lane_ends_with_as_many_batches_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCHES_MAX", 3)
    lane = Lane("a")

    taken = [lane.take(100) for _ in range(7)]

    assert taken == [
        ("lane-a-1", False),
        ("lane-a-1", False),
        ("lane-a-1", True),
        ("lane-a-2", False),
        ("lane-a-2", False),
        ("lane-a-2", True),
        ("lane-a-3", False),
    ]


def test_a_lane_ends_with_as_many_bytes_as_it_takes() -> None:
    lane = Lane("a")

    taken = [lane.take(module.BYTES_MAX // 2) for _ in range(3)]

    assert taken == [("lane-a-1", False), ("lane-a-1", True), ("lane-a-2", False)]


def test_lanes_of_two_processes_have_names_of_their_own() -> None:
    assert Lane("a").take(1) != Lane("b").take(1)


def test_a_lane_stays_far_below_the_limits_of_a_workflow() -> None:
    """Temporal's defaults: 10,000 signals, 51,200 events and 50 MiB of history."""
    largest_batch = 80 * 1024

    assert module.BATCHES_MAX <= 10_000 // 4
    assert module.BATCHES_MAX * 20 <= 51_200 // 4
    assert module.BYTES_MAX + largest_batch <= 50 * 1024 * 1024 // 4
