"""Tasks end for certain, also those that forget to."""

import asyncio

import pytest

from server.backends.tasks import together


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


async def test_parts_that_lose_a_cancellation_end_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.backends.tasks.CANCEL_AGAIN_S", 0.01)
    parts = [Forgetful(0), Forgetful(3)]
    running = asyncio.create_task(together(*(part.run() for part in parts)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    # Whoever ends it may ask again meanwhile.
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await running

    assert [part.running for part in parts] == [False, False]


async def test_when_one_part_fails_the_others_end_and_its_error_is_raised() -> None:
    other = Forgetful(0)

    async def fails() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await together(other.run(), fails())

    assert not other.running
