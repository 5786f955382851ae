"""Peer "queue": an SSE server on Sanic with a queue and a task per client."""

import asyncio
from typing import Any

from sanic import Request, Sanic

from benchmarks.peers.apps.common import peer_settings, run
from benchmarks.peers.apps.pubsub import follow, stream
from scoreboard.contract import STREAM_PATH

settings = peer_settings()
app = Sanic("queue")


@app.before_server_start
async def connect(app: "Sanic[Any, Any]") -> None:
    app.ctx.clients = set()
    # Kept, since the loop itself holds its tasks only weakly.
    app.ctx.following = asyncio.create_task(follow(settings.redis, app.ctx.clients))


@app.get(STREAM_PATH)
async def scores_stream(request: Request) -> None:
    await stream(request, request.app.ctx.clients)


if __name__ == "__main__":
    run(app, settings)
