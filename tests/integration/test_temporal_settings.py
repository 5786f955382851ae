"""A Temporal with the settings of somebody else's cluster: small payloads, few calls a second, no
eager start, a namespace of another name with a retention of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from temporalio.client import Client

from scoreboard import contract
from server.settings import ServerSettings
from stack.process import Process
from stack.services import Temporal, start
from stack.temporal_cluster.roles import register_namespace
from tests.support.api import Api, api_settings, running_api, token
from tests.support.eventually import eventually

NAMESPACE = "scores"
PAYLOAD_BYTES_MAX = 2 * 1024
CALLS_PER_S = 30
ITEMS = 400


class Strict(Temporal):
    """The development server with the limits of a small cluster."""

    def command(self, port: int) -> list[str]:
        dynamic = {
            "limit.blobSize.error": PAYLOAD_BYTES_MAX,
            "limit.blobSize.warn": PAYLOAD_BYTES_MAX // 2,
            "system.enableEagerWorkflowStart": "false",
            "frontend.namespaceRPS": CALLS_PER_S,
            "frontend.namespaceBurstRatio": "1.0",
        }
        ours = [word for word in super().command(port) if not word.startswith("frontend.namespace")]
        # Its option, too, which came before it.
        pairs = [
            word
            for word, value in zip(ours, [*ours[1:], ""], strict=True)
            if word != "--dynamic-config-value" or "=" in value
        ]
        return pairs + [
            word
            for name, value in dynamic.items()
            for word in ("--dynamic-config-value", f"{name}={value}")
        ]


@pytest.fixture(scope="module")
def strict_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's address, without the namespace."""
    folder: Path = tmp_path_factory.mktemp("strict")
    opened: list[Process] = []

    async def run() -> str:
        service = Strict(folder)
        await service.prepare()
        begun = await start(
            service, log=folder / "log", on_spawn=lambda process, _: opened.append(process)
        )
        address = service.url(begun.port)
        await register_namespace(await Client.connect(address), NAMESPACE, timedelta(days=2))
        return address

    try:
        yield asyncio.run(run())
    finally:
        for process in opened:
            process.kill()


@pytest_asyncio.fixture
async def api(
    strict_address: str, mysql_url: str, redis_url: str, task_queue: str
) -> AsyncIterator[Api]:
    settings: ServerSettings = api_settings(
        mysql_url=mysql_url,
        redis_url=redis_url,
        temporal_address=strict_address,
        task_queue=task_queue,
        temporal_namespace=NAMESPACE,
        rate_limit_count=10_000,
    )
    async with running_api(settings, embedded_worker=True) as running:
        yield running


async def accepted(api: Api, items: list[dict[str, int | str]]) -> int:
    """How many of the items one request gets accepted."""
    async with api.http.post(
        api.url + contract.OUTCOMES_PATH,
        json=items,
        headers={"Authorization": f"Bearer {token(1)}"},
    ) as response:
        if response.status != 200:
            return 0
        return sum(answer["status"] == 202 for answer in await response.json())


async def shows(api: Api, score: int) -> bool:
    return bool((await api.scores())[0]["score"] == score)


async def test_batches_become_as_small_as_the_cluster_wants_them(api: Api) -> None:
    items: list[dict[str, int | str]] = [
        {"userId": 1, "increment": 1, "key": f"k{number}"} for number in range(ITEMS)
    ]

    async def all_accepted() -> bool:
        return await accepted(api, items) == ITEMS

    with capture_logs() as logs:
        await eventually(all_accepted, timeout_s=30)
        await eventually(lambda: shows(api, 1500 + ITEMS), timeout_s=30)

    sizes = [entry["batch_max"] for entry in logs if entry["event"] == "batches_made_smaller"]
    assert sizes == sorted(sizes, reverse=True)
    assert 0 < sizes[-1] < ITEMS


async def test_a_limit_of_calls_delays_work_and_loses_none(api: Api) -> None:
    async def one(number: int) -> bool:
        async def taken() -> bool:
            return (await api.submit(1, 1, key=f"one-{number}"))[0] == 202

        return bool(await eventually(taken, timeout_s=30))

    for first in range(0, 60, 3):
        await asyncio.gather(*(one(first + offset) for offset in range(3)))

    await eventually(lambda: shows(api, 1560), timeout_s=30)
