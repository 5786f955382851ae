"""Peer "naive": the API as the specification reads. One workflow start per request.

Its stream is the usual one, too: Redis pub/sub, a queue and a task per client.
"""

import uuid
from typing import Any

from sanic import Request, Sanic
from sanic.response import HTTPResponse
from temporalio.client import Client

from benchmarks.peers.apps.common import Checker, accepted, peer_settings, run
from benchmarks.peers.apps.naive_activities import Update
from benchmarks.peers.apps.naive_workflow import ScoreUpdate
from benchmarks.peers.apps.pubsub import serve_stream
from scoreboard.contract import UPDATE_PATH

settings = peer_settings()
checker = Checker(settings.secret)
app = Sanic("naive")
serve_stream(app, settings.redis)


@app.before_server_start
async def connect(app: "Sanic[Any, Any]") -> None:
    app.ctx.temporal = await Client.connect(settings.temporal_address)


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


if __name__ == "__main__":
    run(app, settings)
