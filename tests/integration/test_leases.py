"""Limits on event streams, shared through a real Redis by several API processes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import redis as sync_redis

from adapters.redis import connect
from harness.net.fault_proxy import Mode, Proxy
from scoreboard import contract
from server.stream.leases import Claim, Leases
from tests.support.addresses import through
from tests.support.eventually import eventually

LEASE_S = 0.9
ANN = Claim("u:ann", 2)
HOME = Claim("a:203.0.113.7", 3)


@asynccontextmanager
async def process(redis_url: str, lease_s: float = LEASE_S) -> AsyncIterator[Leases]:
    """The leases of one API process that ends in order."""
    client = connect(redis_url)
    leases = Leases(client, clock=time.monotonic, lease_s=lease_s)
    running = asyncio.create_task(leases.run())
    try:
        yield leases
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.aclose()


@asynccontextmanager
async def proxied(redis_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A way to Redis that can be cut, and the address at its near end."""
    place = urlsplit(redis_url)
    proxy = Proxy("redis", place.hostname or "", place.port or 0)
    port = await proxy.start()
    try:
        yield proxy, through(redis_url, port)
    finally:
        await proxy.close()


async def test_a_limit_holds_over_all_processes(redis_url: str) -> None:
    async with process(redis_url) as one, process(redis_url) as two:
        admitted = [await one.acquire([ANN]), await two.acquire([ANN])]
        third = [await one.acquire([ANN]), await two.acquire([ANN])]
        other = await two.acquire([Claim("u:bob", 2)])

    assert admitted == [None, None]
    assert third == [ANN, ANN]
    assert other is None


async def test_a_rush_admits_exactly_as_many_as_it_may(redis_url: str) -> None:
    claim = Claim("u:ann", 40)
    async with process(redis_url) as one, process(redis_url) as two:
        answers = await asyncio.gather(
            *(leases.acquire([claim]) for _ in range(50) for leases in (one, two))
        )

    assert answers.count(None) == 40


async def test_a_refusal_counts_for_no_holder(redis_url: str) -> None:
    async with process(redis_url) as leases:
        for _ in range(2):
            assert await leases.acquire([HOME, ANN]) is None
        assert await leases.acquire([HOME, ANN]) == ANN
        assert await leases.acquire([HOME]) is None
        assert await leases.acquire([HOME]) == HOME


async def test_a_stream_that_ended_makes_room_everywhere(redis_url: str) -> None:
    async with process(redis_url) as one, process(redis_url) as two:
        for _ in range(2):
            await one.acquire([ANN])
        assert await two.acquire([ANN]) == ANN

        one.release([ANN])

        async def admitted() -> bool:
            return await two.acquire([ANN]) is None

        await eventually(admitted)


async def test_killed_process_counts_until_its_lease_expires(redis_url: str) -> None:
    async with proxied(redis_url) as (proxy, through), process(redis_url) as living:
        async with process(through) as killed:
            for _ in range(2):
                await killed.acquire([ANN])
            # Like SIGKILL, from where Redis stands: nothing is taken back.
            await proxy.arm(Mode.REFUSE)
        refused = await living.acquire([ANN])

        async def admitted() -> bool:
            return await living.acquire([ANN]) is None

        await eventually(admitted, timeout_s=LEASE_S * 3)

    assert refused == ANN


async def test_leases_of_a_living_process_do_not_lapse(redis_url: str) -> None:
    async with process(redis_url) as one, process(redis_url) as two:
        for _ in range(2):
            await one.acquire([ANN])
        until = time.monotonic() + LEASE_S * 2
        answers = set()
        while time.monotonic() < until:
            answers.add(await two.acquire([ANN]))
            await asyncio.sleep(0.05)

    assert answers == {ANN}


async def test_emptied_redis_gets_the_leases_again(redis_url: str) -> None:
    async with process(redis_url) as one, process(redis_url) as two:
        for _ in range(2):
            await one.acquire([ANN])
        with sync_redis.Redis.from_url(redis_url) as client:
            client.flushdb()

            def told() -> bool:
                return bool(client.exists(contract.STREAM_PROCESSES_KEY) == 1)

            await eventually(told)
            await eventually(lambda: any(b"u:ann" in keys for keys in _counts(client)))

        assert await two.acquire([ANN]) == ANN


def _counts(client: "sync_redis.Redis") -> list[dict[bytes, bytes]]:
    keys: list[bytes] = list(client.scan_iter(match=contract.STREAM_COUNTS_PREFIX + "*"))
    return [client.hgetall(key) for key in keys]  # type: ignore[misc]


async def test_leases_without_redis_are_local_and_synced_later(
    redis_url: str,
) -> None:
    async with (
        proxied(redis_url) as (proxy, through),
        process(through) as cut_off,
        process(redis_url) as other,
    ):
        await proxy.arm(Mode.REFUSE)
        began = time.monotonic()
        alone = [await cut_off.acquire([ANN]) for _ in range(3)]
        took_s = time.monotonic() - began
        await proxy.heal()

        async def known_to_others() -> bool:
            found = await other.acquire([ANN])
            if found is None:
                other.release([ANN])
            return found == ANN

        await eventually(known_to_others)

    assert alone == [None, None, ANN]
    assert took_s < 1


async def test_an_orderly_end_leaves_nothing_behind(redis_url: str) -> None:
    async with process(redis_url, lease_s=60) as one:
        for _ in range(2):
            await one.acquire([ANN])
    async with process(redis_url, lease_s=60) as two:
        assert await two.acquire([ANN]) is None


async def test_client_leaving_during_the_redis_call_holds_no_lease(redis_url: str) -> None:
    async with process(redis_url) as leases:
        asks = [asyncio.create_task(leases.acquire([ANN])) for _ in range(20)]
        await asyncio.sleep(0)
        for ask in asks:
            ask.cancel()
        await asyncio.gather(*asks, return_exceptions=True)

        async def free_again() -> bool:
            if await leases.acquire([Claim("u:ann", 1)]) is not None:
                return False
            leases.release([ANN])
            return True

        await eventually(free_again)
