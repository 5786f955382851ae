"""Peer "direct": no Temporal. INSERT ledger + UPDATE user + COMMIT in the handler, then 202.

An aiomysql pool large enough for InnoDB to group the commits of many handlers
into one sync. No sequence, no Redis, no stream: less work than the product does.
With STREAMS=1 (peer "direct-stream") it publishes each new score after the commit
and serves a stream, as `pubsub` does.
"""

import json
import os
import uuid
from typing import Any

import redis.asyncio
from sanic import Request, Sanic
from sanic.response import HTTPResponse

from benchmarks.peers.apps import CHANNEL
from benchmarks.peers.apps.common import (
    Checker,
    accepted,
    board_response,
    mysql_pool,
    peer_settings,
    run,
)
from benchmarks.peers.apps.pubsub import serve_stream
from scoreboard.contract import SCORES_PATH, UPDATE_PATH

POOL_SIZE = 64
STREAMS = "STREAMS" in os.environ

settings = peer_settings()
checker = Checker(settings.secret)
app = Sanic("direct")
if STREAMS:
    serve_stream(app, settings.redis)


@app.before_server_start
async def open_pool(app: "Sanic[Any, Any]") -> None:
    app.ctx.redis = redis.asyncio.Redis.from_url(settings.redis)
    app.ctx.pool = await mysql_pool(settings.mysql, minsize=POOL_SIZE, maxsize=POOL_SIZE)


@app.post(UPDATE_PATH)
async def update(request: Request) -> HTTPResponse:
    body = checker.check(request)
    submission = uuid.uuid4()
    async with request.app.ctx.pool.acquire() as connection, connection.cursor() as cursor:
        await cursor.execute(
            "INSERT INTO ledger (submission_id, user_id, increment) VALUES (UNHEX(%s), %s, %s)",
            (submission.hex, body.userId, body.increment),
        )
        await cursor.execute(
            "UPDATE users SET score = LAST_INSERT_ID(score + %s) WHERE id = %s",
            (body.increment, body.userId),
        )
        score = cursor.lastrowid
        await connection.commit()
    if STREAMS:
        event = {"user": f"User{body.userId:05d}", "score": score}
        await request.app.ctx.redis.publish(CHANNEL, json.dumps(event))
    return accepted(str(submission))


@app.get(SCORES_PATH)
async def scores(request: Request) -> HTTPResponse:
    async with request.app.ctx.pool.acquire() as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT name, score FROM users ORDER BY score DESC, id LIMIT 10")
        rows = await cursor.fetchall()
        await connection.commit()
    return board_response(rows)


if __name__ == "__main__":
    run(app, settings)
