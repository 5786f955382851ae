"""After Redis has lost its keys: a key whose first use is still under way keeps its body."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest_asyncio

from adapters.redis import connect
from server.settings import ServerSettings
from tests.support.api import Api, running_api
from tests.support.eventually import eventually
from tests.support.pipeline import NewWorker


class Site:
    """Two servers; one of them has accepted 10 points for user 1 with the key "k". No worker runs,
    and Redis has just lost everything."""

    def __init__(self, one: Api, other: Api, start_worker: Callable[[], Awaitable[object]]) -> None:
        self.one, self.other = one, other
        self.start_worker = start_worker


@pytest_asyncio.fixture
async def site(settings: ServerSettings, redis_url: str, worker: NewWorker) -> AsyncIterator[Site]:
    async with AsyncExitStack() as opened:
        async with worker():
            one = await opened.enter_async_context(running_api(settings))
            other = await opened.enter_async_context(running_api(settings))
            # While the ledger is empty, Redis has nothing to remember; later it has.
            assert (await one.submit(2, 1, key="before"))[0] == 202
            await eventually(lambda: _has(one, "Bob", 1401))
        redis = connect(redis_url)
        opened.push_async_callback(redis.aclose)
        assert (await one.submit(1, 10, key="k"))[0] == 202
        await redis.flushdb()
        yield Site(one, other, lambda: opened.enter_async_context(worker()))


async def test_another_body_waits_for_the_first_and_is_refused(site: Site) -> None:
    reused = await site.other.submit(1, 11, key="k")
    fresh = await site.other.submit(1, 10, key="never-used")
    keyless = await site.other.submit(1, 10)

    # The batch of the first waits for a worker: nobody may take its place, or be thought to.
    assert [status for status, _ in (reused, fresh, keyless)] == [503, 503, 202]
    assert "Redis lost its keys" in reused[1]["detail"]

    await site.start_worker()
    await eventually(lambda: _answered(site.other, 202, 1, 10, "never-used"))
    assert await _answered(site.other, 422, 1, 11, "k")
    assert await _answered(site.other, 202, 1, 10, "k")
    await eventually(lambda: _has(site.one, "Alice", 1530))


async def _answered(api: Api, status: int, user: int, points: int, key: str) -> bool:
    return (await api.submit(user, points, key=key))[0] == status


async def _has(api: Api, user: str, score: int) -> bool:
    assert {line["user"]: line["score"] for line in await api.scores()}[user] == score
    return True
