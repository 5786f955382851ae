"""Two API processes with a worker, the Redis edge of one behind a fault proxy, and clients that ask
them by turns."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any
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
STALLED_S = 60.0


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
        self._over = asyncio.Event()
        self.doing = "nothing"
        """What breaks things does at the moment."""

    async def start(self, number: int) -> None:
        """Start a process; it takes requests before it is ready."""
        opened = running_api(self._settings[number], ready=False)
        self._apis[number] = await self._stacks[number].enter_async_context(opened)

    async def stop(self, number: int) -> None:
        """End a process."""
        self._apis[number] = None
        await self._stacks[number].aclose()

    @property
    def urls(self) -> tuple[str, str]:
        """Where the two are, the one behind the faults first; both must run."""
        first, second = self._apis
        assert first is not None
        assert second is not None
        return first.url, second.url

    async def stop_all(self) -> None:
        """End both."""
        for number in range(2):
            await self.stop(number)

    async def keep_changing(self, rng: random.Random) -> None:
        """Batches all the time."""
        while True:
            await self._pipeline.run(*(submission(1, 1) for _ in range(rng.randint(1, 3))))
            await asyncio.sleep(rng.random() * 0.03)

    async def keep_breaking(self, rng: random.Random) -> None:
        """Faults of the edge, and restarts of either process, which are never left half done."""
        while not await self._over_within(0.2 + rng.random() * 0.4):
            if rng.random() < 0.2:
                number = rng.randrange(2)
                self.doing = f"stopping {number}"
                await self.stop(number)
                self.doing = f"starting {number}"
                await self.start(number)
                continue
            fault = rng.choice(FAULTS)
            self.doing = fault.value
            await self.edge.arm(fault, latency_s=rng.choice((0.05, 0.2, 0.4)))
            await self._over_within(0.3 + rng.random() * 1.2)
            await self.edge.heal()

    async def _over_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)
        return self._over.is_set()

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

    def lacking(self, *, reads: int, changes: int) -> tuple[int, ...]:
        """How many reads, reads by each process and different positions are still to be seen, so
        that both processes answered their part and the board moved meanwhile."""
        of_first = sum(read.process == 0 for read in self.reads)
        seen = (
            (reads, len(self.reads)),
            (reads // 10, of_first),
            (reads // 10, len(self.reads) - of_first),
            (changes, len({read.seq for read in self.reads})),
        )
        return tuple(max(0, wanted - found) for wanted, found in seen)

    def seen(self) -> str:
        """What goes on, for whoever asks why there is no verdict."""
        running = [number for number, api in enumerate(self._apis) if api is not None]
        return f"{len(self.reads)} reads; running: {running}; doing: {self.doing}"

    async def exercise(
        self,
        rng: random.Random,
        *,
        reads: int,
        changes: int,
        seconds: float,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """For so long at least, and until so many reads have shown so many changes.

        `enough` ends it before.
        """
        breaking = asyncio.create_task(self.keep_breaking(rng))
        tasks = [
            asyncio.create_task(work)
            for work in (
                self.keep_changing(rng),
                *(self.keep_reading(n % 2) for n in range(CLIENTS)),
            )
        ]
        try:
            ends_at = time.monotonic() + seconds
            lacked, grew_at = self.lacking(reads=reads, changes=changes), time.monotonic()
            while not enough() and (
                any(lacking := self.lacking(reads=reads, changes=changes))
                or time.monotonic() < ends_at
            ):
                # A slow machine takes its time; only one that stands still gives no verdict.
                if lacking != lacked:
                    lacked, grew_at = lacking, time.monotonic()
                stalled = any(lacking) and time.monotonic() > grew_at + STALLED_S
                assert not stalled, f"{lacking} are lacking: {self.seen()}"
                await asyncio.sleep(0.05)
                for task in (breaking, *tasks):
                    if task.done():
                        task.result()
        finally:
            self._over.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(breaking, *tasks, return_exceptions=True)
            await self.edge.heal()
            await self.stop_all()


async def _seq_of(api: Api) -> int | None:
    try:
        async with api.http.get(api.url + contract.SCORES_PATH) as response:
            await response.read()
            return int(response.headers[contract.SEQ_HEADER]) if response.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError):
        return None


@asynccontextmanager
async def two_processes(
    client: Client, settings: ServerSettings, *, mysql_url: str, redis_url: str, **worker: Any
) -> AsyncIterator[TwoProcesses]:
    """Both started, with a worker beside them; `worker` goes over that one's settings."""
    address = urlsplit(redis_url)
    edge = Proxy("redis", address.hostname or "", address.port or 6379)
    await edge.start()
    try:
        async with running_pipeline(
            client,
            mysql_url=mysql_url,
            redis_url=redis_url,
            task_queue=settings.task_queue,
            **worker,
        ) as pipeline:
            pair = TwoProcesses(settings, pipeline, edge)
            for number in range(2):
                await pair.start(number)
            yield pair
    finally:
        await edge.close()
