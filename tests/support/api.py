"""A running API for tests: on a port of its own, with the worker inside or without one."""

import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
from sanic import Sanic
from temporalio.client import Client

from adapters.mysql import Pool
from scoreboard import contract, sse
from scoreboard.addresses import mysql_address
from scoreboard.tokens import SCOPE_ANY_USER, mint
from server.run import running
from server.settings import ServerSettings
from tests.support.eventually import eventually
from worker.database.migrate import migrate
from worker.database.seed import seed
from worker.runtime import running_worker
from worker.settings import WorkerSettings

SECRET = b"test-secret-of-at-least-32-bytes"
TOKEN_TTL_S = 6 * 3600
"""Some tests make theirs when they are collected, and the whole suite takes a while."""

# Sanic rewrites its own methods when an application starts, and only then keeps
# the originals, so that a second application in the same process can start.
Sanic.test_mode = True


def token(subject: str | int = 1, *, any_user: bool = False, ttl_s: int = TOKEN_TTL_S) -> str:
    """A valid bearer token."""
    scopes = (SCOPE_ANY_USER,) if any_user else ()
    return mint(SECRET, subject=str(subject), now_s=int(time.time()), ttl_s=ttl_s, scopes=scopes)


class Api:
    """Requests to a running API."""

    def __init__(self, port: int, http: aiohttp.ClientSession) -> None:
        self.port, self.http = port, http
        self.url = f"http://127.0.0.1:{port}"

    async def submit(
        self,
        user_id: int = 1,
        increment: int = 10,
        *,
        key: str | None = None,
        bearer: str | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Status and body of one POST /scores/update."""
        headers = {"Authorization": f"Bearer {bearer or token(user_id)}"}
        if key is not None:
            headers[contract.IDEMPOTENCY_HEADER] = key
        body = {"userId": user_id, "increment": increment}
        async with self.http.post(
            self.url + contract.UPDATE_PATH, json=body, headers=headers
        ) as response:
            return response.status, await response.json(content_type=None)

    async def get(self, path: str, **headers: str) -> tuple[int, Any, "Any"]:
        """Status, decoded body and headers."""
        async with self.http.get(self.url + path, headers=headers) as response:
            return response.status, await response.json(content_type=None), response.headers

    async def scores(self) -> list[dict[str, Any]]:
        """GET /scores, which must succeed."""
        status, scores, _ = await self.get(contract.SCORES_PATH)
        assert status == 200, scores
        return list(scores)

    def listen(
        self, last_event_id: int | None = None, *, gzip: bool = True, **parameters: str | int
    ) -> "AbstractAsyncContextManager[Stream]":
        """An open event stream."""
        headers = {"Accept-Encoding": "gzip" if gzip else "identity"}
        if last_event_id is not None:
            headers[contract.LAST_EVENT_ID_HEADER] = str(last_event_id)
        return _listening(self, headers, parameters)


class Stream:
    """Events of one connection, decoded by the project's own decoder."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.decoder = sse.Decoder()
        self.events: list[sse.Event] = []

    async def until(self, count: int) -> list[sse.Event]:
        """All events so far, once there are `count`. Fails when the stream ends before."""
        while len(self.events) < count:
            data = await self.response.content.readany()
            assert data, f"the stream ended after {len(self.events)} of {count} events"
            self.events += self.decoder.feed(data)
        return self.events

    async def end(self) -> list[sse.Event]:
        """All events, once the stream has ended cleanly."""
        async for data in self.response.content.iter_any():
            self.events += self.decoder.feed(data)
        return self.events

    @property
    def seqs(self) -> list[int]:
        return [int(event.id) for event in self.events]


@asynccontextmanager
async def _listening(
    api: Api, headers: dict[str, str], parameters: dict[str, str | int]
) -> AsyncIterator[Stream]:
    async with api.http.get(
        api.url + contract.STREAM_PATH,
        headers=headers,
        params=parameters,
        timeout=aiohttp.ClientTimeout(total=30),
    ) as response:
        assert response.status == 200, await response.text()
        stream = Stream(response)
        # The hello block: from here on the listener is counted in.
        hello = await response.content.readuntil(b"\n\n")
        stream.events += stream.decoder.feed(hello)
        yield stream


def api_settings(
    *,
    mysql_url: str,
    redis_url: str,
    temporal_address: str,
    task_queue: str = contract.TASK_QUEUE,
    **changes: Any,
) -> ServerSettings:
    """Settings of an API that hears within 0.05 s when a service comes or goes."""
    settings = ServerSettings(
        mysql=mysql_address(mysql_url),
        redis=redis_url,
        temporal_address=temporal_address,
        task_queue=task_queue,
        jwt_secret=SECRET,
        port=0,
        health_interval_s=0.05,
    )
    return replace(settings, **changes)


@asynccontextmanager
async def running_api(
    settings: ServerSettings,
    *,
    embedded_worker: bool = False,
    users: int = 0,
    ready: bool = True,
    prepare: bool = True,
) -> AsyncIterator[Api]:
    """The API on a free port. With a worker inside, Alice, Bob and `users` in all are there.

    `ready`: wait until it takes work; `prepare`: make the tables and users before it starts.
    """

    def worker(client: Client) -> AbstractAsyncContextManager[None]:
        return running_worker(
            client,
            WorkerSettings(
                mysql=settings.mysql,
                redis=settings.redis,
                temporal_address=settings.temporal_address,
                task_queue=settings.task_queue,
                heal_interval_s=0.2,
                otlp_endpoint=settings.otlp_endpoint,
                trace_ratio=settings.trace_ratio,
                log_requests=settings.log_requests,
            ),
        )

    if embedded_worker and prepare:
        await make_tables_and_users(settings, users)
    async with (
        running(settings, worker if embedded_worker else None) as server,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=20)
        ) as http,
    ):
        api = Api(server.port, http)
        if ready:
            await wait_until_ready(api)
        yield api


async def wait_until_ready(api: Api, timeout_s: float = 20) -> None:
    """Return once the API says it is ready."""

    async def is_ready() -> bool:
        status, body, _ = await api.get("/readyz")
        assert status == 200, body
        return True

    await eventually(is_ready, timeout_s=timeout_s)


async def make_tables_and_users(settings: ServerSettings, users: int = 0) -> None:
    """What a worker needs: the tables, Alice, Bob and `users` in all."""
    pool = Pool(settings.mysql, size=1)
    try:
        await migrate(pool)
        await seed(pool, users)
    finally:
        await pool.close()


def applied(events: Iterable[sse.Event]) -> list[dict[str, Any]]:
    """Data of the update events."""
    return [json.loads(event.data) for event in events if event.event == sse.UPDATE]
