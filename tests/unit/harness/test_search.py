"""The search finds the border of any server, and believes nothing that held only once."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sessions.search import backlog_grows, search


@given(st.integers(1, 20_000), st.integers(1, 5_000))
def test_search_finds_the_limit_of_a_steady_server_to_its_precision(limit: int, start: int) -> None:
    found = search(lambda load, _: load <= limit, start=start, most=10_000, precision=0.05)

    border = min(limit, 10_000)
    assert found.load <= border
    assert border - found.load <= max(1, 0.05 * border) + 1
    assert found.bounded is (limit < 10_000)
    assert len(found.steps) < 45


def test_search_steps_down_from_a_load_that_fails_its_repeat() -> None:
    lucky = {1000: [True, False]}

    def holds(load: int, _: str) -> bool:
        return lucky.get(load, []).pop(0) if lucky.get(load) else load < 1000

    found = search(holds, start=1000, most=10_000, repeats=2)

    assert 0 < found.load < 1000
    assert [step.held for step in found.steps if step.phase == "confirm"][-1]


def test_search_confirms_its_answer_as_often_as_asked() -> None:
    draw = random.Random(3)

    found = search(
        lambda load, _: draw.random() < (0.98 if load < 3000 else 0.1),
        start=500,
        most=50_000,
        repeats=4,
    )

    last = [step for step in found.steps if step.load == found.load][-3:]
    assert all(step.held and step.phase == "confirm" for step in last)
    assert found.load < 4000


def test_search_confirms_a_load_it_stepped_down_to() -> None:
    def holds(load: int, phase: str) -> bool:
        return load <= 1000 if phase != "confirm" else load < 900

    found = search(holds, start=1000, most=10_000, precision=0.1, repeats=3)

    assert found.load < 900
    assert [step.held for step in found.steps if step.load == found.load] == [True] * 3


def test_search_answers_zero_when_no_load_holds() -> None:
    found = search(lambda *_: False, start=64, most=1000)

    assert found.load == 0
    assert [step.load for step in found.steps] == [64, 32, 16, 8, 4, 2, 1]


@pytest.mark.parametrize(
    ("values", "grows"),
    [
        ([100.0] * 12, False),
        ([float(n) * 200 for n in range(12)], True),
        ([0.0, 900.0] * 6, False),
        ([0.0, 5000.0], False),
    ],
)
def test_backlog_grows_only_when_its_end_is_above_its_start(
    values: list[float], grows: bool
) -> None:
    assert backlog_grows(list(enumerate(values)), rate=1000) is grows


def test_search_tries_nothing_below_the_least_load_that_can_be_judged() -> None:
    found = search(lambda *_: False, start=500, most=1000, least=100)

    assert found.load == 0
    assert [step.load for step in found.steps] == [500, 250, 125, 100]


def test_search_that_steps_down_stops_at_the_least_load() -> None:
    found = search(lambda _, phase: phase != "confirm", start=100, most=100, least=100, repeats=2)

    assert found.load == 0
    assert {step.load for step in found.steps} == {100}
