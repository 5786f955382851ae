"""The usual fan-out: one Redis subscription, a queue and a task for each client.

Each event is encoded once and the same bytes go into every queue, which is
already better than most.
"""

import asyncio
import itertools
from collections.abc import MutableSet

import redis.asyncio
from sanic import Request

from benchmarks.peers.apps.naive_activities import CHANNEL

Queue = asyncio.Queue[bytes]


async def follow(redis_url: str, clients: MutableSet[Queue]) -> None:
    """Puts every event that Redis publishes into every client's queue, until cancelled."""
    client = redis.asyncio.Redis.from_url(redis_url)
    numbers = itertools.count(1)
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(CHANNEL)
        async for message in pubsub.listen():
            if message["type"] == "message":
                event = b"id: %d\nevent: update\ndata: %b\n\n" % (next(numbers), message["data"])
                for queue in clients:
                    queue.put_nowait(event)


async def stream(request: Request, clients: MutableSet[Queue]) -> None:
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
