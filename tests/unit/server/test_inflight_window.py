"""Which batches run: announced ends count at once, silent ones are looked up."""

import asyncio

import pytest

from server.submit import inflight_window as module
from server.submit.inflight_window import Unfinished
from tests.support.eventually import eventually


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def room(unfinished: Unfinished, starting: int = 0, *, full: bool = False) -> bool:
    return unfinished.room_in_s(starting, full=full) == 0


def test_as_many_as_usual_may_be_under_way(clock: Clock) -> None:
    unfinished = Unfinished(2, 9, clock=clock)
    unfinished.add("a", unfinished.begin())
    assert room(unfinished)
    assert not room(unfinished, starting=1)

    unfinished.add("b", unfinished.begin())

    assert not room(unfinished)
    unfinished.discard("a")
    assert room(unfinished)


def test_batches_start_evenly_apart(clock: Clock) -> None:
    unfinished = Unfinished(2, 9, clock=clock)
    for number in range(50):
        unfinished.add(str(number), unfinished.begin())
        clock.now += 0.1
        unfinished.discard(str(number))
    unfinished.add("a", unfinished.begin())

    assert unfinished.room_in_s(0, full=False) == pytest.approx(0.05, rel=1e-3)

    clock.now += 0.051
    assert room(unfinished)
    unfinished.add("b", unfinished.begin())
    clock.now += 0.049
    # What ends in its turn leaves room at once.
    unfinished.discard("a")
    clock.now += 0.002
    assert room(unfinished)


def test_the_first_batch_after_a_quiet_time_and_a_full_one_do_not_wait(clock: Clock) -> None:
    unfinished = Unfinished(2, 9, clock=clock)
    unfinished.add("slow", unfinished.begin())
    clock.now += 0.4
    unfinished.discard("slow")
    assert room(unfinished)

    unfinished.add("next", unfinished.begin())

    assert not room(unfinished)
    assert room(unfinished, full=True)


def test_a_batch_that_took_minutes_does_not_slow_the_next_ones(clock: Clock) -> None:
    unfinished = Unfinished(2, 9, clock=clock)
    unfinished.add("lost", unfinished.begin())
    clock.now += 300
    unfinished.discard("lost")
    unfinished.add("next", unfinished.begin())

    wait_s = unfinished.room_in_s(0, full=False)

    assert wait_s is not None
    assert 0 < wait_s <= module.PATIENCE_S * module.SMOOTHING + 1e-9


def test_a_full_batch_gains_nothing_by_waiting(clock: Clock) -> None:
    unfinished = Unfinished(1, 2, clock=clock)
    unfinished.add("a", unfinished.begin())
    assert room(unfinished, full=True)

    unfinished.add("b", unfinished.begin())

    assert not room(unfinished, full=True)


def test_when_none_ends_more_are_started_one_at_a_time_up_to_the_maximum(clock: Clock) -> None:
    unfinished = Unfinished(1, 3, clock=clock)
    unfinished.add("a", unfinished.begin())
    for name in ("b", "c"):
        assert not room(unfinished)
        clock.now += module.PATIENCE_S * 1.1
        assert room(unfinished)
        unfinished.add(name, unfinished.begin())
    clock.now += 100

    assert not room(unfinished)


def test_batches_of_others_are_none_of_its_business(clock: Clock) -> None:
    unfinished = Unfinished(2, 2, clock=clock)
    calls: list[str] = []
    unfinished.on_room = lambda: calls.append("room")
    unfinished.add("a", unfinished.begin())

    unfinished.discard("theirs")

    assert (len(unfinished), calls) == (1, [])


def test_it_is_stuck_only_while_nothing_moves(clock: Clock) -> None:
    unfinished = Unfinished(2, 2, clock=clock)
    unfinished.add("a", unfinished.begin())
    clock.now = 100
    unfinished.add("b", unfinished.begin())
    assert not unfinished.stuck(2.0)

    clock.now = 103
    assert unfinished.stuck(2.0)

    unfinished.discard("a")
    unfinished.add("c", unfinished.begin())
    assert not unfinished.stuck(2.0)


async def test_silent_batches_are_looked_up_until_they_have_ended(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_UP_INTERVAL_S", 0.001)
    unfinished = Unfinished(8, 8, clock=clock)
    for name in ("ended", "runs"):
        unfinished.add(name, unfinished.begin())
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
