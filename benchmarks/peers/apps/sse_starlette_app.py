"""Peer "sse-starlette": the library's own way, an async generator per client, on uvicorn."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import redis.asyncio
import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from benchmarks.peers.apps.common import peer_settings
from benchmarks.peers.apps.naive_activities import CHANNEL
from scoreboard.contract import STREAM_PATH

settings = peer_settings()
clients: set["asyncio.Queue[ServerSentEvent]"] = set()


async def follow() -> None:
    """Puts every event that Redis publishes into every client's queue."""
    numbers = itertools.count(1)
    async with redis.asyncio.Redis.from_url(settings.redis).pubsub() as pubsub:
        await pubsub.subscribe(CHANNEL)
        async for message in pubsub.listen():
            if message["type"] == "message":
                event = ServerSentEvent(
                    data=message["data"].decode(), event="update", id=str(next(numbers)), sep="\n"
                )
                for queue in clients:
                    queue.put_nowait(event)


@contextlib.asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    following = asyncio.create_task(follow())
    yield
    following.cancel()


async def scores_stream(_request: Request) -> EventSourceResponse:
    """One client's stream."""

    async def events() -> AsyncIterator[ServerSentEvent]:
        queue: asyncio.Queue[ServerSentEvent] = asyncio.Queue()
        clients.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            clients.discard(queue)

    return EventSourceResponse(events())


app = Starlette(routes=[Route(STREAM_PATH, scores_stream)], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
