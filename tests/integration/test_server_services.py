"""Services that are away, hang or lose answers: the API says so, never hangs, and heals."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from harness.net.fault_proxy import Mode, Proxy
from tests.support.addresses import through
from tests.support.api import Api, api_settings, applied, running_api, wait_until_ready
from tests.support.eventually import eventually
from tests.support.pipeline import NewWorker, Pipeline, submission
from tests.support.services import Services


@dataclass
class Site:
    """An API whose every edge has a proxy, beside a worker that reaches everything directly."""

    api: Api
    pipeline: Pipeline
    edges: dict[str, Proxy]


@pytest_asyncio.fixture
async def site(
    services: Services,
    mysql_url: str,
    redis_url: str,
    task_queue: str,
    worker: NewWorker,
) -> AsyncIterator[Site]:
    async with AsyncExitStack() as opened:
        pipeline = await opened.enter_async_context(worker())
        edges = {}
        temporal_url = f"temporal://{services.temporal_address}"
        for name, url in (("mysql", mysql_url), ("redis", redis_url), ("temporal", temporal_url)):
            parts = urlsplit(url)
            assert parts.hostname
            assert parts.port
            edges[name] = Proxy(name, parts.hostname, parts.port)
            await edges[name].start()
            opened.push_async_callback(edges[name].close)
        settings = api_settings(
            mysql_url=through(mysql_url, edges["mysql"].port),
            redis_url=through(redis_url, edges["redis"].port),
            temporal_address=f"127.0.0.1:{edges['temporal'].port}",
            task_queue=task_queue,
            submit_timeout_s=3.0,
        )
        api = await opened.enter_async_context(running_api(settings))
        yield Site(api, pipeline, edges)
        for edge in edges.values():
            await edge.heal()


async def says_away(api: Api, service: str) -> bool:
    _, body, _ = await api.get("/readyz")
    return service in body.get("parts", ())


@pytest.mark.parametrize("service", ["mysql", "redis", "temporal"])
@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.HANG])
async def test_a_service_that_is_away_means_503_in_time_and_then_healing(
    site: Site, service: str, mode: Mode
) -> None:
    assert (await site.api.submit(1, 10))[0] == 202

    await site.edges[service].arm(mode)
    began = time.monotonic()
    first, _ = await site.api.submit(1, 10)
    first_took_s = time.monotonic() - began
    await eventually(lambda: says_away(site.api, service), timeout_s=15)
    began = time.monotonic()
    status, problem = await site.api.submit(1, 10)
    refused_took_s = time.monotonic() - began
    healthy, _, _ = await site.api.get("/healthz")

    # The first one may be too early to know; it still has an answer in time.
    assert first in (202, 503)
    assert first_took_s < 8
    assert (status, problem["code"]) == (503, "unavailable")
    assert refused_took_s < 1.5
    assert healthy == 200

    await site.edges[service].heal()
    await wait_until_ready(site.api)
    assert (await site.api.submit(1, 10))[0] == 202


async def test_without_redis_the_board_comes_from_mysql_and_streams_go_on(site: Site) -> None:
    async with site.api.listen() as stream:
        await site.pipeline.run(submission(1, 10))
        await stream.until(1)

        await site.edges["redis"].arm(Mode.REFUSE)
        await site.pipeline.run(submission(1, 10), submission(2, 5))
        events = await asyncio.wait_for(stream.until(3), 30)
        scores = await site.api.scores()

        await site.edges["redis"].heal()
        await site.pipeline.run(submission(1, 1))
        events = await asyncio.wait_for(stream.until(4), 30)

    assert scores[0] == {"user": "Alice", "score": 1520, "userId": 1}
    assert stream.seqs == [1, 2, 3, 4]
    assert [data["score"] for data in applied(events)] == [1510, 1520, 1405, 1521]


async def test_without_mysql_reads_and_streams_go_on_from_redis(site: Site) -> None:
    async with site.api.listen() as stream:
        await site.edges["mysql"].arm(Mode.REFUSE)
        await site.pipeline.run(submission(1, 10))
        await asyncio.wait_for(stream.until(1), 30)

        assert (await site.api.scores())[0] == {"user": "Alice", "score": 1510, "userId": 1}


@pytest.mark.parametrize("mode", [Mode.RESET_AFTER, Mode.RESET_BEFORE, Mode.RESET_MID_REPLY])
@pytest.mark.parametrize("service", ["temporal", "redis"])
async def test_a_lost_answer_and_a_repeat_have_one_effect(
    site: Site, service: str, mode: Mode
) -> None:
    proof = await site.edges[service].arm(mode, connections=1)

    answers = [await site.api.submit(1, 10, key="k")]
    while answers[-1][0] != 202:
        await asyncio.sleep(0.2)
        answers.append(await site.api.submit(1, 10, key="k"))
        assert len(answers) < 60
    again = await site.api.submit(1, 10, key="k")
    await eventually(lambda: bool(proof.fired))

    assert again[1]["submissionId"] == answers[-1][1]["submissionId"]
    await eventually(lambda: _applied_once(site))


async def _applied_once(site: Site) -> bool:
    assert await site.pipeline.rows("SELECT score FROM users WHERE id = 1") == [(1510,)]
    [[running]] = await site.pipeline.rows("SELECT COUNT(*) FROM ledger")
    return bool(running == 1)


async def test_server_stops_while_its_worker_waits_for_mysql(
    services: Services, redis_url: str, task_queue: str
) -> None:
    settings = api_settings(
        mysql_url="mysql://nobody:x@127.0.0.1:1/none",
        redis_url=redis_url,
        temporal_address=services.temporal_address,
        task_queue=task_queue,
        drain_notice_s=0.0,
    )

    async with asyncio.timeout(20):
        async with running_api(settings, embedded_worker=True, ready=False, prepare=False) as api:
            await eventually(lambda: reaches(api, "temporal"))


async def reaches(api: Api, service: str) -> bool:
    return not await says_away(api, service)
