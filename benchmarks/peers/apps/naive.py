"""Peer "naive": the API as the specification reads. One workflow start per request.

Its stream is the usual one, too: Redis pub/sub, a queue and a task per client.
"""

import asyncio
import uuid
from typing import Any

from sanic import Request, Sanic
from sanic.response import HTTPResponse
from temporalio.client import Client

from benchmarks.peers.apps.common import Checker, accepted, peer_settings, run
from benchmarks.peers.apps.naive_activities import Update
from benchmarks.peers.apps.naive_workflow import ScoreUpdate
from benchmarks.peers.apps.pubsub import follow, stream
from scoreboard.contract import STREAM_PATH, UPDATE_PATH

settings = peer_settings()
checker = Checker(settings.secret)
app = Sanic("naive")


@app.before_server_start
async def connect(app: "Sanic[Any, Any]") -> None:
    app.ctx.temporal = await Client.connect(settings.temporal_address)
    app.ctx.clients = set()
    # Kept, since the loop itself holds its tasks only weakly.
    app.ctx.following = asyncio.create_task(follow(settings.redis, app.ctx.clients))


@app.post(UPDATE_PATH)
async def update(request: Request) -> HTTPResponse:
    body = checker.check(request)
    submission = uuid.uuid4()
    await request.app.ctx.temporal.start_workflow(
        ScoreUpdate.run,
        Update(submission.hex, body.userId, body.increment),
        id=f"score-update-{submission}",
        task_queue=settings.task_queue,
    )
    return accepted(str(submission))


@app.get(STREAM_PATH)
async def scores_stream(request: Request) -> None:
    await stream(request, request.app.ctx.clients)


if __name__ == "__main__":
    run(app, settings)
