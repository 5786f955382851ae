"""Which batches run: announced ends count at once, silent ones are looked up."""

import asyncio

import pytest

from server import unfinished as module
from server.unfinished import Unfinished
from tests.support.eventually import eventually


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_as_many_as_usual_may_be_under_way(clock: Clock) -> None:
    unfinished = Unfinished(2, 9, clock=clock)
    unfinished.add("a")
    assert unfinished.has_room(0, full=False)
    assert not unfinished.has_room(1, full=False)

    unfinished.add("b")

    assert not unfinished.has_room(0, full=False)
    unfinished.discard("a")
    assert unfinished.has_room(0, full=False)


def test_a_full_batch_gains_nothing_by_waiting(clock: Clock) -> None:
    unfinished = Unfinished(1, 2, clock=clock)
    unfinished.add("a")
    assert unfinished.has_room(0, full=True)

    unfinished.add("b")

    assert not unfinished.has_room(0, full=True)


def test_when_none_ends_more_are_started_one_at_a_time_up_to_the_maximum(clock: Clock) -> None:
    unfinished = Unfinished(1, 3, clock=clock)
    unfinished.add("a")
    for name in ("b", "c"):
        assert not unfinished.has_room(0, full=False)
        clock.now += module.PATIENCE_S * 1.1
        assert unfinished.has_room(0, full=False)
        unfinished.add(name)
    clock.now += 100

    assert not unfinished.has_room(0, full=False)


def test_batches_of_others_are_none_of_its_business(clock: Clock) -> None:
    unfinished = Unfinished(2, 2, clock=clock)
    calls: list[str] = []
    unfinished.on_room = lambda: calls.append("room")
    unfinished.add("a")

    unfinished.discard("theirs")

    assert (len(unfinished), calls) == (1, [])


def test_it_is_stuck_only_while_nothing_moves(clock: Clock) -> None:
    unfinished = Unfinished(2, 2, clock=clock)
    unfinished.add("a")
    clock.now = 100
    unfinished.add("b")
    assert not unfinished.stuck(2.0)

    clock.now = 103
    assert unfinished.stuck(2.0)

    unfinished.discard("a")
    unfinished.add("c")
    assert not unfinished.stuck(2.0)


async def test_silent_batches_are_looked_up_until_they_have_ended(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_UP_INTERVAL_S", 0.001)
    unfinished = Unfinished(8, 8, clock=clock)
    for name in ("ended", "runs"):
        unfinished.add(name)
    asked: list[str] = []

    async def is_running(batch_id: str) -> bool:
        asked.append(batch_id)
        return batch_id == "runs"

    look_up = asyncio.create_task(unfinished.look_up(is_running))
    await asyncio.sleep(0.02)
    assert asked == []

    clock.now = 10

    await eventually(lambda: len(unfinished) == 1)
    await asyncio.sleep(0.02)
    # Asked once, not in every round: it was known to run only a moment ago.
    assert asked.count("runs") == 1
    clock.now = 20
    await eventually(lambda: asked.count("runs") == 2)
    look_up.cancel()
