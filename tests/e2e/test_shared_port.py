"""A deploy behind one port: a new process joins when it can serve, an old one leaves in order."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.e2e.test_restarts import Fleet, accepted_more, check, fleet, traffic
from tests.support.api import token
from tests.support.eventually import eventually

__all__ = ["fleet"]

NOTICE_S = 5.0


@pytest_asyncio.fixture
async def sharing(fleet: Fleet) -> AsyncIterator[Fleet]:
    """Processes that all listen on one port."""
    with socket.socket() as reserved:
        # Kept open, so that nobody else gets the port; it never listens.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        environment = {
            **fleet._environment,
            "SCOREBOARD_PORT": str(reserved.getsockname()[1]),
            "SCOREBOARD_REUSE_PORT": "true",
        }
        sharing = Fleet(environment, fleet._http)
        try:
            yield sharing
        finally:
            await sharing.close()


@pytest.mark.timeout(240)
async def test_rolling_restart_on_one_port_loses_no_request(sharing: Fleet, mysql_url: str) -> None:
    first, second = await sharing.start("stack.api"), await sharing.start("stack.api")
    refused = 0
    asking = True

    async def keep_asking() -> None:
        """A new connection each time, as of clients that come right now."""
        nonlocal refused
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            while asking:
                try:
                    async with http.get(f"http://127.0.0.1:{first.port}/scores") as response:
                        refused += response.status != 200
                except aiohttp.ClientConnectorError:
                    refused += 1
                await asyncio.sleep(0.01)

    assert first.port == second.port
    asker = asyncio.create_task(keep_asking())
    async with traffic(sharing):
        for process in (first, second):
            await accepted_more(sharing, 40)
            await sharing.start("stack.api")
            assert await sharing.retire(process, signal.SIGTERM) == 0
        await accepted_more(sharing, 40)
    asking = False
    await asker

    await check(sharing, mysql_url)
    assert refused == 0
    assert sharing.connections > 1


async def test_readiness_fails_first_and_work_goes_on_for_the_notice(fleet: Fleet) -> None:
    fleet._environment["SCOREBOARD_DRAIN_NOTICE_S"] = str(NOTICE_S)
    process = await fleet.start("stack.api")
    url = f"http://127.0.0.1:{process.port}"
    http = fleet._http

    async def submit() -> int:
        async with http.post(
            f"{url}/scores/update",
            json={"userId": 1, "increment": 1},
            headers={"Authorization": f"Bearer {token(1)}"},
        ) as response:
            return response.status

    async def readiness() -> tuple[int, str]:
        async with http.get(f"{url}/readyz") as response:
            return response.status, await response.text()

    before = await submit()
    process.program.send_signal(signal.SIGTERM)

    async def unready() -> bool:
        status, body = await readiness()
        return status == 503 and "draining" in body

    await eventually(unready, timeout_s=NOTICE_S)
    during = [await submit() for _ in range(5)]
    async with http.get(f"{url}/healthz") as response:
        alive = response.status
    status = await asyncio.wait_for(process.program.wait(), 20)

    assert (before, during, alive, status) == (202, [202] * 5, 200, 0)
