"""Ended tasks have really finished, even those that lose a cancellation."""

import asyncio

import pytest

from adapters.tasks import end, together
from tests.support.eventually import settled


class Forgetful:
    """A loop that loses its first cancellations, as `wait_for` does before Python 3.12."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.running = False

    async def run(self) -> None:
        self.running = True
        try:
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.left -= 1
                    if self.left < 0:
                        raise
        finally:
            self.running = False


async def test_together_ends_parts_that_lose_a_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters.tasks.CANCEL_AGAIN_S", 0.01)
    parts = [Forgetful(0), Forgetful(3)]
    running = asyncio.create_task(together(*(part.run() for part in parts)))
    await settled()

    # Whoever ends it may ask again meanwhile.
    for _ in range(3):
        running.cancel()
        await settled()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert [part.running for part in parts] == [False, False]


async def test_together_ends_all_parts_and_raises_when_one_fails() -> None:
    other = Forgetful(0)

    async def fails() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await together(other.run(), fails())

    assert not other.running


async def test_end_reraises_the_callers_cancellation_after_the_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters.tasks.CANCEL_AGAIN_S", 0.01)
    part = Forgetful(3)
    task = asyncio.create_task(part.run())
    await settled()
    ending = asyncio.create_task(end([task]))
    await settled()

    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending

    assert task.done()
    assert not part.running
