"""Peer "direct": no Temporal. INSERT ledger + UPDATE user + COMMIT in the handler, then 202.

An aiomysql pool large enough for InnoDB to group the commits of many handlers
into one sync. No sequence, no Redis, no stream: less work than the product does.
"""

import uuid
from typing import Any

from sanic import Request, Sanic
from sanic.response import HTTPResponse

from benchmarks.peers.apps.common import Checker, accepted, mysql_pool, peer_settings, run
from scoreboard.contract import UPDATE_PATH

POOL_SIZE = 64

settings = peer_settings()
checker = Checker(settings.secret)
app = Sanic("direct")


@app.before_server_start
async def open_pool(app: "Sanic[Any, Any]") -> None:
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
            "UPDATE users SET score = score + %s WHERE id = %s", (body.increment, body.userId)
        )
        await connection.commit()
    return accepted(str(submission))


if __name__ == "__main__":
    run(app, settings)
