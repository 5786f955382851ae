"""How long one slice holds the loop, and how much others get before the next."""

import asyncio

import pytest

from server.stream.slices import OTHERS_MAX_S, SLICE_S, Slices


class Clock:
    """Moves only when told to."""

    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_slice_is_over_by_what_it_has_cost(clock: Clock) -> None:
    slices = Slices(clock)

    assert not slices.over
    clock.now += SLICE_S * 1.01
    assert slices.over


async def test_a_quiet_loop_is_given_one_turn(clock: Clock) -> None:
    slices = Slices(clock)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await slices.give_way()
    counting.cancel()

    assert turns == 1


async def test_busy_others_get_twice_a_slice_and_no_more(clock: Clock) -> None:
    slices = Slices(clock)
    clock.now += SLICE_S
    others_s = 0.0

    async def work() -> None:
        nonlocal others_s
        while True:
            clock.now += 0.0005
            others_s += 0.0005
            await asyncio.sleep(0)

    working = asyncio.create_task(work())
    await slices.give_way()
    working.cancel()

    assert OTHERS_MAX_S <= others_s <= OTHERS_MAX_S + 0.001


async def test_the_time_of_others_does_not_count(clock: Clock) -> None:
    slices = Slices(clock)
    clock.now += 0.003

    async def work() -> None:
        clock.now += 7.0

    working = asyncio.create_task(work())
    await slices.give_way()
    clock.now += 0.002
    await working

    assert slices.took_s == pytest.approx(0.005)
    assert slices.over
