"""Peer "sse-starlette": the library's own way, an async generator per client, on uvicorn."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from benchmarks.peers.apps.common import peer_settings
from benchmarks.peers.apps.pubsub import follow
from scoreboard.contract import STREAM_PATH

settings = peer_settings()
clients: set["asyncio.Queue[ServerSentEvent]"] = set()


def _event(number: int, data: bytes) -> ServerSentEvent:
    return ServerSentEvent(data=data.decode(), event="update", id=str(number), sep="\n")


@contextlib.asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    following = asyncio.create_task(follow(settings.redis, clients, _event))
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
