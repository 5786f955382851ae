"""The usual fan-out: one Redis subscription, a queue and a task for each client.

Each event is encoded once and the same bytes go into every queue, which is
already better than most.
"""

import asyncio
import itertools
from collections.abc import Callable, MutableSet
from typing import Any, TypeVar

import redis.asyncio
from sanic import Request, Sanic

from benchmarks.peers.apps import CHANNEL
from scoreboard.contract import STREAM_PATH

Event = TypeVar("Event")
Queue = asyncio.Queue[bytes]


async def follow(
    redis_url: str,
    clients: "MutableSet[asyncio.Queue[Event]]",
    encode: Callable[[int, bytes], Event],
) -> None:
    """Puts every event that Redis publishes into every client's queue, until cancelled."""
    client = redis.asyncio.Redis.from_url(redis_url)
    numbers = itertools.count(1)
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(CHANNEL)
        async for message in pubsub.listen():
            if message["type"] == "message":
                event = encode(next(numbers), message["data"])
                for queue in clients:
                    queue.put_nowait(event)


def serve_stream(app: "Sanic[Any, Any]", redis_url: str) -> None:
    """Adds the stream, and the subscription that feeds it, to a Sanic peer."""
    clients: set[Queue] = set()

    @app.before_server_start
    async def subscribe(app: "Sanic[Any, Any]") -> None:
        # Kept, since the loop itself holds its tasks only weakly.
        app.ctx.following = asyncio.create_task(follow(redis_url, clients, _encode))

    @app.get(STREAM_PATH)
    async def scores_stream(request: Request) -> None:
        await _stream(request, clients)


def _encode(number: int, data: bytes) -> bytes:
    return b"id: %d\nevent: update\ndata: %b\n\n" % (number, data)


async def _stream(request: Request, clients: MutableSet[Queue]) -> None:
    """Serves one SSE client until it leaves."""
    response = await request.respond(content_type="text/event-stream")
    assert response is not None
    queue: Queue = asyncio.Queue()
    clients.add(queue)
    try:
        await response.send("retry: 2000\n\n")
        while True:
            await response.send(await queue.get())
    finally:
        clients.discard(queue)
