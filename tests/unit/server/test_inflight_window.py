"""Batches in flight: announced ends count at once, silent ones are looked up."""

import asyncio

import pytest
from redis.exceptions import NoPermissionError
from structlog.testing import capture_logs

from scoreboard import backoff
from server.submit import inflight_window as module
from server.submit.inflight_window import InflightWindow
from tests.support.eventually import eventually


class Clock:
    now = 0.0
    looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now

    async def looked_at(self, times: int) -> None:
        """Return once it has been looked at so many times more."""
        enough = self.looks + times
        await eventually(lambda: self.looks >= enough, interval_s=0.001)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def room(window: InflightWindow, starting: int = 0, *, full: bool = False) -> bool:
    return window.room_in_s(starting, full=full) == 0


def test_as_many_as_usual_may_be_under_way(clock: Clock) -> None:
    window = InflightWindow(2, 9, clock=clock)
    window.add("a", window.begin())
    assert room(window)
    assert not room(window, starting=1)

    window.add("b", window.begin())

    assert not room(window)
    window.discard("a")
    assert room(window)


def test_batches_start_evenly_apart(clock: Clock) -> None:
    window = InflightWindow(2, 9, clock=clock)
    for number in range(50):
        window.add(str(number), window.begin())
        clock.now += 0.1
        window.discard(str(number))
    window.add("a", window.begin())

    assert window.room_in_s(0, full=False) == pytest.approx(0.05, rel=1e-3)

    clock.now += 0.051
    assert room(window)
    window.add("b", window.begin())
    clock.now += 0.049
    # What ends in its turn leaves room at once.
    window.discard("a")
    clock.now += 0.002
    assert room(window)


def test_batches_keep_the_interval_that_was_asked_for(clock: Clock) -> None:
    window = InflightWindow(2, 9, clock=clock, interval_s=0.04)
    assert room(window)
    window.add("a", window.begin())
    clock.now += 0.01
    assert window.room_in_s(0, full=False) == pytest.approx(0.03)
    # Neither the end of a batch nor an idle machine shortens it, a full batch does.
    window.discard("a")
    assert window.room_in_s(0, full=False) == pytest.approx(0.03)
    assert room(window, full=True)

    clock.now += 0.03
    assert room(window)


def test_batches_of_several_keep_an_interval_and_batches_of_one_none(clock: Clock) -> None:
    window = InflightWindow(2, 9, clock=clock)

    def apart_s(size: int) -> float:
        for _ in range(30):
            window.begin(size)
        return window.room_in_s(0, full=False) or 0.0

    assert apart_s(1) == 0
    assert apart_s(3) == pytest.approx(module.BUSY_INTERVAL_S / 2, rel=0.01)
    assert apart_s(200) == module.BUSY_INTERVAL_S
    # After a pause the next one starts at once, however busy it was before.
    clock.now += 1
    assert room(window)


def test_interval_never_lets_more_than_usual_run(clock: Clock) -> None:
    window = InflightWindow(1, 9, clock=clock, interval_s=0.04)
    window.add("a", window.begin())
    clock.now += 0.05

    assert window.room_in_s(0, full=False) == pytest.approx(module.PATIENCE_S - 0.05)


def test_first_batch_after_a_pause_and_full_batches_do_not_wait(clock: Clock) -> None:
    window = InflightWindow(2, 9, clock=clock)
    window.add("slow", window.begin())
    clock.now += 0.4
    window.discard("slow")
    assert room(window)

    window.add("next", window.begin())

    assert not room(window)
    assert room(window, full=True)


def test_a_batch_that_took_minutes_does_not_slow_the_next_ones(clock: Clock) -> None:
    window = InflightWindow(2, 9, clock=clock)
    window.add("lost", window.begin())
    clock.now += 300
    window.discard("lost")
    window.add("next", window.begin())

    wait_s = window.room_in_s(0, full=False)

    assert wait_s is not None
    assert 0 < wait_s <= module.PATIENCE_S * module.SMOOTHING + 1e-9


def test_a_full_batch_gains_nothing_by_waiting(clock: Clock) -> None:
    window = InflightWindow(1, 2, clock=clock)
    window.add("a", window.begin())
    assert room(window, full=True)

    window.add("b", window.begin())

    assert not room(window, full=True)


def test_stalled_window_grows_one_by_one_up_to_its_maximum(clock: Clock) -> None:
    window = InflightWindow(1, 3, clock=clock)
    window.add("a", window.begin())
    for name in ("b", "c"):
        assert not room(window)
        clock.now += module.PATIENCE_S * 1.1
        assert room(window)
        window.add(name, window.begin())
    clock.now += 100

    assert not room(window)


def test_window_ignores_batches_it_did_not_start(clock: Clock) -> None:
    calls: list[str] = []
    window = InflightWindow(2, 2, clock=clock, on_room=lambda: calls.append("room"))
    window.add("a", window.begin())

    window.discard("theirs")

    assert (len(window), calls) == (1, [])


def test_window_is_stuck_only_while_no_batch_finishes(clock: Clock) -> None:
    window = InflightWindow(2, 2, clock=clock)
    window.add("a", window.begin())
    clock.now = 100
    window.add("b", window.begin())
    assert not window.stuck(2.0)

    clock.now = 103
    assert window.stuck(2.0)

    window.discard("a")
    window.add("c", window.begin())
    assert not window.stuck(2.0)


async def test_silent_batches_are_looked_up_until_they_have_ended(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_UP_INTERVAL_S", 0.001)
    window = InflightWindow(8, 8, clock=clock)
    for name in ("ended", "runs"):
        window.add(name, window.begin())
    asked = 0

    async def running() -> set[str]:
        nonlocal asked
        asked += 1
        return {"runs", "theirs"}

    look_up = asyncio.create_task(window.look_up(running))
    await clock.looked_at(5)
    assert asked == 0

    clock.now = 10

    await eventually(lambda: len(window) == 1)
    await clock.looked_at(5)
    # Asked once, not in every round: it was known to run only a moment ago.
    assert asked == 1
    clock.now = 20
    await eventually(lambda: asked == 2)
    look_up.cancel()


async def test_silent_batches_run_as_long_as_temporal_does_not_say(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_UP_INTERVAL_S", 0.001)
    window = InflightWindow(8, 8, clock=clock)
    window.add("silent", window.begin())
    silent = True

    async def running() -> set[str]:
        if silent:
            raise TimeoutError
        return set()

    look_up = asyncio.create_task(window.look_up(running))
    clock.now = 10
    await clock.looked_at(10)
    assert len(window) == 1

    silent, clock.now = False, 20
    await eventually(lambda: len(window) == 0)
    look_up.cancel()


async def test_unannounced_batches_are_looked_up_sooner(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_UP_INTERVAL_S", 0.001)
    monkeypatch.setattr(module, "UNANNOUNCED_AFTER_S", 0.002)
    window = InflightWindow(8, 8, clock=clock)

    async def running() -> set[str]:
        return {"c"}

    look_up = asyncio.create_task(window.look_up(running))
    window.add("a", window.begin())
    clock.now = module.LOOK_UP_AFTER_S + 1
    await eventually(lambda: len(window) == 0)

    window.add("b", window.begin())
    clock.now += 0.01
    await eventually(lambda: len(window) == 0)

    window.add("c", window.begin())
    window.announced(["theirs", "c"])
    window.add("a", window.begin())
    clock.now += 0.01
    await clock.looked_at(5)
    assert len(window) == 1
    look_up.cancel()


def test_the_oldest_batch_gives_the_age(clock: Clock) -> None:
    window = InflightWindow(8, 8, clock=clock)
    assert window.oldest_s() == 0

    window.add("a", window.begin())
    clock.now += 5
    window.add("b", window.begin())
    clock.now += 2
    assert window.oldest_s() == 7

    window.discard("a")
    assert window.oldest_s() == 2


class Deaf:
    """A Redis that refuses the channel to this user, in its answer to the subscription."""

    refused = 0

    def pubsub(self, **_options: bool) -> "Deaf":
        return self

    async def __aenter__(self) -> "Deaf":
        return self

    async def __aexit__(self, *_error: object) -> None:
        pass

    async def subscribe(self, _channel: str) -> None:
        pass

    async def get_message(self, **_options: float) -> dict[str, bytes] | None:
        self.refused += 1
        raise NoPermissionError("this user has no permissions")


class Chatty(Deaf):
    """A Redis whose channel somebody else writes to."""

    async def get_message(self, **_options: float) -> dict[str, bytes] | None:
        self.refused += 1
        await asyncio.sleep(0)
        return {"data": b"\xff"} if self.refused < 3 else {"data": b"a"}


async def test_a_channel_that_stays_refused_is_logged_once(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "DONE_SUBSCRIPTION", backoff.Backoff(first_s=0))
    redis = Deaf()
    with capture_logs() as logs:
        listening = asyncio.create_task(InflightWindow(2, 9, clock=clock).listen(redis))  # type: ignore[arg-type]
        await eventually(lambda: redis.refused > 3, interval_s=0.001)
        listening.cancel()

    assert [entry["event"] for entry in logs] == ["announcements_unheard"]


async def test_an_announcement_that_nobody_can_read_ends_nothing(clock: Clock) -> None:
    window = InflightWindow(1, 1, clock=clock)
    window.add("a", window.begin())

    listening = asyncio.create_task(window.listen(Chatty()))  # type: ignore[arg-type]
    await eventually(lambda: room(window), interval_s=0.001)

    listening.cancel()
