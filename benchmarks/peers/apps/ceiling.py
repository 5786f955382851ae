"""Peer "ceiling": checks the token and the body and answers 202, or sends a constant.

What the web framework alone can do on this machine; nothing is stored.
"""

import uuid

from sanic import Request, Sanic
from sanic.response import HTTPResponse

from benchmarks.peers.apps.common import Checker, accepted, peer_settings, run
from scoreboard.contract import SCORES_PATH, SEQ_HEADER, UPDATE_PATH

_BOARD = (
    b"[" + b",".join(b'{"user":"User%05d","score":%d}' % (n, 1500 - n) for n in range(10)) + b"]"
)

settings = peer_settings()
checker = Checker(settings.secret, remember=True)
app = Sanic("ceiling")


@app.post(UPDATE_PATH)
async def update(request: Request) -> HTTPResponse:
    checker.check(request)
    return accepted(str(uuid.uuid4()))


@app.get(SCORES_PATH)
async def scores(_request: Request) -> HTTPResponse:
    return HTTPResponse(
        _BOARD,
        content_type="application/json",
        headers={SEQ_HEADER: "1", "Cache-Control": "no-cache"},
    )


if __name__ == "__main__":
    run(app, settings)
