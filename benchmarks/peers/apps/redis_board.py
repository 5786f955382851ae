"""Peer "redis": a leaderboard in Redis alone. ZINCRBY and PUBLISH in the handler, then 202.

One script for both, so that events are in the order of the changes. No ledger: what Redis has not
synced when it dies is lost though it was accepted, and a repeated request counts twice.
"""

import uuid
from typing import Any

import redis.asyncio
from sanic import Request, Sanic
from sanic.response import HTTPResponse

from benchmarks.peers.apps import CHANNEL
from benchmarks.peers.apps.common import Checker, accepted, board_response, peer_settings, run
from benchmarks.peers.apps.pubsub import serve_stream
from scoreboard.contract import SCORES_PATH, UPDATE_PATH

KEY = "leaderboard"
_SCRIPT = """
local score = math.floor(redis.call('ZINCRBY', KEYS[1], ARGV[2], ARGV[1]))
redis.call('PUBLISH', KEYS[2], cjson.encode({user = ARGV[1], score = score}))
"""

settings = peer_settings()
checker = Checker(settings.secret)
app = Sanic("redis")
serve_stream(app, settings.redis)


@app.before_server_start
async def connect(app: "Sanic[Any, Any]") -> None:
    app.ctx.redis = redis.asyncio.Redis.from_url(settings.redis)
    app.ctx.add = app.ctx.redis.register_script(_SCRIPT)


@app.post(UPDATE_PATH)
async def update(request: Request) -> HTTPResponse:
    body = checker.check(request)
    await request.app.ctx.add(keys=(KEY, CHANNEL), args=(f"User{body.userId:05d}", body.increment))
    return accepted(str(uuid.uuid4()))


@app.get(SCORES_PATH)
async def scores(request: Request) -> HTTPResponse:
    rows = await request.app.ctx.redis.zrevrange(KEY, 0, 9, withscores=True)
    return board_response([(name.decode(), int(score)) for name, score in rows])


if __name__ == "__main__":
    run(app, settings)
