"""Real processes that end and die under traffic: nothing accepted is lost or counted twice,
and a listener that moves on to another process sees every change once."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import aiohttp
import pytest
import pytest_asyncio

from adapters.mysql import Pool
from scoreboard import contract, sse
from scoreboard.addresses import mysql_address
from tests.support.api import SECRET, token
from tests.support.eventually import eventually
from tests.support.services import Services, mysql_connection
from worker.database.migrate import migrate
from worker.database.seed import seed

SENDERS = 8


class Process:
    """One of the project's programs."""

    def __init__(self, program: asyncio.subprocess.Process) -> None:
        self.program = program
        self.port = 0
        self.log: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.program.stderr
        async for line in self.program.stderr:
            self.log.append(line.decode().rstrip())
            if '"event": "serving"' in self.log[-1]:
                self.port = int(json.loads(self.log[-1])["port"])

    async def end(self, number: signal.Signals) -> int:
        self.program.send_signal(number)
        status = await asyncio.wait_for(self.program.wait(), 30)
        await self._reading
        return status


class Fleet:
    """API processes and a worker on the same services, and traffic on them."""

    def __init__(self, environment: dict[str, str], http: aiohttp.ClientSession) -> None:
        self._environment = environment
        self._http = http
        self._running: list[Process] = []
        self.apis: list[Process] = []
        self.accepted: dict[str, str] = {}
        self.seqs: list[int] = []
        self.resets = 0
        self.connections = 0
        self.sending = True

    async def start(self, module: str) -> Process:
        """A program, once it does its work if it is an API."""
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, env=self._environment, stderr=asyncio.subprocess.PIPE
        )
        process = Process(program)
        self._running.append(process)
        if module != "worker":
            await eventually(lambda: process.port > 0, timeout_s=30)
            await eventually(lambda: self._is_ready(process), timeout_s=30)
            self.apis.append(process)
        return process

    async def _is_ready(self, process: Process) -> bool:
        async with self._http.get(f"http://127.0.0.1:{process.port}/readyz") as response:
            return response.status == 200

    async def retire(self, process: Process, number: signal.Signals) -> int:
        """End an API; clients stop choosing it only once it is gone."""
        status = await process.end(number)
        self.apis.remove(process)
        return status

    async def send(self, sender: int) -> None:
        """Submissions one after the other, each repeated with its key until it is accepted."""
        for number in count():
            if not self.sending:
                return
            key = f"{sender}-{number}"
            for attempt in count():
                try:
                    await self._submit(key, attempt)
                    break
                except (aiohttp.ClientError, TimeoutError):
                    await asyncio.sleep(0.05)

    async def _submit(self, key: str, attempt: int) -> None:
        api = self.apis[attempt % len(self.apis)]
        async with self._http.post(
            f"http://127.0.0.1:{api.port}{contract.UPDATE_PATH}",
            json={"userId": 1, "increment": 1},
            headers={
                "Authorization": f"Bearer {token('game', any_user=True)}",
                contract.IDEMPOTENCY_HEADER: key,
            },
        ) as response:
            body = await response.json(content_type=None)
            if response.status != 202:
                assert response.status == 503, body
                await asyncio.sleep(0.05)
                raise aiohttp.ClientError
            self.accepted[key] = body["submissionId"]

    async def listen(self) -> None:
        """Follow the stream over as many connections as it takes, until cancelled."""
        decoder_id = "0"
        while True:
            self.connections += 1
            api = self.apis[self.connections % len(self.apis)]
            decoder = sse.Decoder(last_event_id=decoder_id)
            try:
                async with self._http.get(
                    f"http://127.0.0.1:{api.port}{contract.STREAM_PATH}",
                    headers={contract.LAST_EVENT_ID_HEADER: decoder_id},
                    timeout=aiohttp.ClientTimeout(total=None, sock_read=30),
                ) as response:
                    async for data in response.content.iter_any():
                        for event in decoder.feed(data):
                            self.resets += event.event != sse.UPDATE
                            self.seqs.append(int(event.id))
                        decoder_id = decoder.last_event_id
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        for process in self._running:
            if process.program.returncode is None:
                await process.end(signal.SIGKILL)


@pytest_asyncio.fixture
async def fleet(
    services: Services, mysql_url: str, redis_url: str, task_queue: str
) -> AsyncIterator[Fleet]:
    pool = Pool(mysql_address(mysql_url), size=1)
    await migrate(pool)
    await seed(pool, 2)
    await pool.close()
    environment = {
        **os.environ,
        "SCOREBOARD_MYSQL_URL": mysql_url,
        "SCOREBOARD_REDIS_URL": redis_url,
        "SCOREBOARD_TEMPORAL_ADDRESS": services.temporal_address,
        "SCOREBOARD_TASK_QUEUE": task_queue,
        "SCOREBOARD_JWT_SECRET": SECRET.decode(),
        "SCOREBOARD_PORT": "0",
        "SCOREBOARD_RATE_LIMIT_COUNT": "1000000",
    }
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        fleet = Fleet(environment, http)
        try:
            yield fleet
        finally:
            await fleet.close()


@asynccontextmanager
async def traffic(fleet: Fleet) -> AsyncIterator[None]:
    """Senders and a listener while the context lasts; then the senders finish."""
    listener = asyncio.create_task(fleet.listen())
    senders = [asyncio.create_task(fleet.send(number)) for number in range(SENDERS)]
    try:
        yield
        fleet.sending = False
        await asyncio.wait_for(asyncio.gather(*senders), 120)
        await eventually(lambda: len(fleet.seqs) >= len(fleet.accepted), timeout_s=120)
    finally:
        for task in (listener, *senders):
            task.cancel()
        await asyncio.gather(listener, *senders, return_exceptions=True)


async def check(fleet: Fleet, mysql_url: str) -> None:
    """Every accepted submission counts once, and the listener saw each change once in order."""
    async with mysql_connection(mysql_url) as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT COUNT(*), MAX(seq) FROM ledger WHERE outcome = 'applied'")
        [ledger] = await cursor.fetchall()
        await cursor.execute("SELECT score FROM users WHERE id = 1")
        [(score,)] = await cursor.fetchall()
    accepted = len(fleet.accepted)
    assert accepted > 50
    assert len(set(fleet.accepted.values())) == accepted
    assert ledger == (accepted, accepted)
    assert score == 1500 + accepted
    assert fleet.resets == 0
    assert fleet.seqs == list(range(1, accepted + 1))


async def accepted_more(fleet: Fleet, more: int) -> None:
    target = len(fleet.accepted) + more
    await eventually(lambda: len(fleet.accepted) >= target, timeout_s=120)


@pytest.mark.timeout(300)
async def test_a_rolling_restart_loses_no_submission_and_no_event(
    fleet: Fleet, mysql_url: str
) -> None:
    first, second = await fleet.start("stack.api"), await fleet.start("stack.api")

    async with traffic(fleet):
        for process in (first, second):
            await accepted_more(fleet, 25)
            await fleet.start("stack.api")
            assert await fleet.retire(process, signal.SIGTERM) == 0
        await accepted_more(fleet, 25)

    await check(fleet, mysql_url)
    assert fleet.connections > 1


@pytest.mark.timeout(300)
async def test_killed_processes_leave_their_work_to_the_others(
    fleet: Fleet, mysql_url: str
) -> None:
    worker = await fleet.start("worker")
    victims = [await fleet.start("stack.api") for _ in range(2)]
    await fleet.start("server")

    async with traffic(fleet):
        for process in victims:
            await accepted_more(fleet, 25)
            assert await fleet.retire(process, signal.SIGKILL) == -signal.SIGKILL
        await accepted_more(fleet, 25)
        await worker.end(signal.SIGKILL)
        await fleet.start("worker")
        await accepted_more(fleet, 25)

    await check(fleet, mysql_url)
