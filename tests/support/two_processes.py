"""Two API processes with a worker, the Redis edge of one behind a fault proxy, and clients that ask
them by turns."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import aiohttp
import msgspec
from temporalio.client import Client

from harness.net.fault_proxy import Mode, Proxy
from scoreboard import contract
from server.settings import ServerSettings
from tests.support.addresses import through
from tests.support.api import Api, running_api
from tests.support.pipeline import Pipeline, running_pipeline, submission

FAULTS = (Mode.REFUSE, Mode.HANG, Mode.NO_REPLY, Mode.LATENCY, Mode.RESET_AFTER)
CLIENTS = 4


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """One answered GET /scores."""

    process: int
    invoked_ns: int
    done_ns: int
    seq: int


class TwoProcesses:
    """The first one's Redis edge is `edge`."""

    def __init__(self, settings: ServerSettings, pipeline: Pipeline, edge: Proxy) -> None:
        self._pipeline = pipeline
        self.edge = edge
        cut = through(settings.redis, edge.port)
        self._settings = (replace(settings, redis=cut), settings)
        self._stacks = [AsyncExitStack(), AsyncExitStack()]
        self._apis: list[Api | None] = [None, None]
        self.reads: list[Read] = []

    async def start(self, number: int) -> None:
        """Start a process; it takes requests before it is ready."""
        opened = running_api(self._settings[number], ready=False)
        self._apis[number] = await self._stacks[number].enter_async_context(opened)

    async def stop(self, number: int) -> None:
        """End a process."""
        self._apis[number] = None
        await self._stacks[number].aclose()

    async def keep_changing(self, rng: random.Random) -> None:
        """Batches all the time."""
        while True:
            await self._pipeline.run(*(submission(1, 1) for _ in range(rng.randint(1, 3))))
            await asyncio.sleep(rng.random() * 0.03)

    async def keep_breaking(self, rng: random.Random) -> None:
        """Faults of the edge, and restarts of either process."""
        while True:
            await asyncio.sleep(0.2 + rng.random() * 0.4)
            if rng.random() < 0.2:
                number = rng.randrange(2)
                await self.stop(number)
                await self.start(number)
                continue
            await self.edge.arm(rng.choice(FAULTS), latency_s=rng.choice((0.05, 0.2, 0.4)))
            await asyncio.sleep(0.3 + rng.random() * 1.2)
            await self.edge.heal()

    async def keep_reading(self, first: int) -> None:
        """One client: a read of each process by turns."""
        process = first
        while True:
            process = 1 - process
            api = self._apis[process]
            invoked_ns = time.monotonic_ns()
            seq = None if api is None else await _seq_of(api)
            if seq is None:
                await asyncio.sleep(0.005)
                continue
            self.reads.append(
                Read(
                    process=process,
                    invoked_ns=invoked_ns,
                    done_ns=time.monotonic_ns(),
                    seq=seq,
                )
            )

    def saw_enough(self, *, reads: int, changes: int) -> bool:
        """Whether both processes answered their part, and the board moved meanwhile."""
        of_first = sum(read.process == 0 for read in self.reads)
        return (
            len(self.reads) >= reads
            and reads // 10 <= of_first <= len(self.reads) - reads // 10
            and len({read.seq for read in self.reads}) >= changes
        )

    async def exercise(
        self, rng: random.Random, *, reads: int, changes: int, seconds: float
    ) -> None:
        """For so long at least, and until so many reads have shown so many changes."""
        tasks = [
            asyncio.create_task(work)
            for work in (
                self.keep_changing(rng),
                self.keep_breaking(rng),
                *(self.keep_reading(n % 2) for n in range(CLIENTS)),
            )
        ]
        try:
            ends_at = time.monotonic() + seconds
            async with asyncio.timeout(seconds * 10):
                while time.monotonic() < ends_at or not self.saw_enough(
                    reads=reads, changes=changes
                ):
                    await asyncio.sleep(0.05)
                    for task in tasks:
                        if task.done():
                            task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.edge.heal()
            for number in range(2):
                await self.stop(number)


async def _seq_of(api: Api) -> int | None:
    try:
        async with api.http.get(api.url + contract.SCORES_PATH) as response:
            await response.read()
            return int(response.headers[contract.SEQ_HEADER]) if response.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError):
        return None


@asynccontextmanager
async def two_processes(
    client: Client, settings: ServerSettings, *, mysql_url: str, redis_url: str
) -> AsyncIterator[TwoProcesses]:
    """Both started, with a worker beside them."""
    address = urlsplit(redis_url)
    edge = Proxy("redis", address.hostname or "", address.port or 6379)
    await edge.start()
    try:
        async with running_pipeline(
            client, mysql_url=mysql_url, redis_url=redis_url, task_queue=settings.task_queue
        ) as pipeline:
            pair = TwoProcesses(settings, pipeline, edge)
            for number in range(2):
                await pair.start(number)
            yield pair
    finally:
        await edge.close()
