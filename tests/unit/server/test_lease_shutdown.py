"""Leases at shutdown: every request gets an answer, and none waits."""

import asyncio
from typing import Any

import pytest

from server.stream.leases import Claim, Leases
from tests.support.eventually import eventually

ANN = Claim("u:ann", 1)


class SilentRedis:
    """Takes every call and never answers."""

    def __init__(self) -> None:
        self.calls = 0

    def register_script(self, _text: str) -> Any:
        async def run(**_arguments: Any) -> list[int]:
            self.calls += 1
            await asyncio.Event().wait()
            raise AssertionError

        return run


class Process:
    """The leases of a process on a Redis that hangs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("server.stream.leases.CALL_TIMEOUT_S", 0.01)
        self.redis = SilentRedis()
        self.leases = Leases(self.redis, clock=lambda: 0.0, lease_s=10.0)  # type: ignore[arg-type]
        self.run = asyncio.create_task(self.leases.run())

    async def end(self) -> None:
        self.run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.run


@pytest.fixture
async def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    return Process(monkeypatch)


async def test_closing_leases_answers_running_and_queued_requests(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.stream.leases.CALL_TIMEOUT_S", 60)
    under_way = asyncio.create_task(process.leases.acquire([ANN]))
    await eventually(lambda: process.redis.calls == 1)
    queued = asyncio.create_task(process.leases.acquire([ANN]))
    await asyncio.sleep(0)
    monkeypatch.setattr("server.stream.leases.CALL_TIMEOUT_S", 0.01)

    await process.end()

    async with asyncio.timeout(0.5):
        assert [await under_way, await queued] == [None, ANN]


async def test_leases_that_have_ended_answer_without_redis(process: Process) -> None:
    await asyncio.sleep(0)
    await process.end()
    calls = process.redis.calls

    async with asyncio.timeout(0.5):
        assert await process.leases.acquire([ANN]) is None
    process.leases.release([ANN])

    assert process.redis.calls == calls
