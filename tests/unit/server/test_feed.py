"""The feed keeps running while no backend answers. With services: `integration/test_stream`."""

import asyncio
from typing import Any

import pytest

from scoreboard.backoff import Backoff
from server.stream.feed import Feed
from tests.support.eventually import eventually


class Away:
    """Redis and MySQL, neither of which answers."""

    def __init__(self) -> None:
        self.asked = 0

    async def hmget(self, *_: Any) -> None:
        self.asked += 1
        raise ConnectionError

    async def board(self) -> None:
        raise ConnectionError


async def test_an_outage_of_any_length_does_not_end_the_feed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scoreboard.backoff.FEED", Backoff(first_s=1e-9, factor=2.0, max_s=0.0))
    away: Any = Away()
    feed = Feed(away, away, away, history_changes=1)

    following = asyncio.create_task(feed.run())
    # A power of two with so many digits is no float any more.
    await eventually(lambda: away.asked > 1100, interval_s=0.001)

    assert not following.done()
    following.cancel()
    await asyncio.wait({following})
