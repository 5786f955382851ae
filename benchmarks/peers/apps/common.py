"""What every peer does the same way: settings, the token, the body, the answer.

Kept apart so that peers differ only in what they are compared for.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiomysql
import jwt
import msgspec
from sanic import Request, Sanic
from sanic.exceptions import SanicException
from sanic.response import HTTPResponse

from scoreboard.addresses import MySqlAddress, mysql_address
from scoreboard.contract import ACCEPTED_MESSAGE
from scoreboard.tokens import AUDIENCE, ISSUER
from stack.ports import HOST

CACHED_TOKENS_MAX = 50_000


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /scores/update."""

    userId: int
    increment: int


@dataclass(frozen=True, kw_only=True)
class PeerSettings:
    """Read from the same variables as the server's."""

    mysql: MySqlAddress
    redis: str
    temporal_address: str
    task_queue: str
    secret: bytes
    port: int


def peer_settings() -> PeerSettings:
    """The settings of this process; a worker has no port. Raises KeyError for a missing one."""
    return PeerSettings(
        mysql=mysql_address(os.environ["SCOREBOARD_MYSQL_URL"]),
        redis=os.environ["SCOREBOARD_REDIS_URL"],
        temporal_address=os.environ["SCOREBOARD_TEMPORAL_ADDRESS"],
        task_queue=os.environ["SCOREBOARD_TASK_QUEUE"],
        secret=os.environ["SCOREBOARD_JWT_SECRET"].encode(),
        port=int(os.environ.get("SCOREBOARD_PORT", "0")),
    )


async def mysql_pool(mysql: MySqlAddress, *, minsize: int, maxsize: int) -> Any:
    """An aiomysql pool; each transaction is committed by its user."""
    return await aiomysql.create_pool(
        host=mysql.host,
        port=mysql.port,
        user=mysql.user,
        password=mysql.password,
        db=mysql.database,
        minsize=minsize,
        maxsize=maxsize,
        autocommit=False,
    )


class Checker:
    """Checks the token and the body of a request.

    PyJWT verifies the token of each request, as everybody does. With `remember` it verifies each
    token once, which is the server's own idea and flatters the peer.
    """

    def __init__(self, secret: bytes, *, remember: bool = False) -> None:
        self._secret = secret
        self._cached = remember
        self._known: dict[str, tuple[str, int]] = {}
        self._decode = msgspec.json.Decoder(Body).decode

    def check(self, request: Request) -> Body:
        """The body of an allowed request. Raises SanicException (401, 403, 422)."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        now_s = time.time()
        subject, expires_s = self._known.get(token, ("", 0))
        if expires_s <= now_s:
            try:
                claims = jwt.decode(
                    token, self._secret, algorithms=["HS256"], audience=AUDIENCE, issuer=ISSUER
                )
            except jwt.PyJWTError as error:
                raise SanicException("no valid token", status_code=401) from error
            subject, expires_s = claims["sub"], claims["exp"]
            if self._cached and len(self._known) < CACHED_TOKENS_MAX:
                self._known[token] = (subject, expires_s)
        try:
            body = self._decode(request.body)
        except msgspec.DecodeError as error:
            raise SanicException("no valid body", status_code=422) from error
        if subject != str(body.userId):
            raise SanicException("not your user", status_code=403)
        return body


def accepted(submission_id: str) -> HTTPResponse:
    """The 202 of the contract."""
    return HTTPResponse(
        f'{{"message":"{ACCEPTED_MESSAGE}","submissionId":"{submission_id}"}}',
        status=202,
        content_type="application/json",
    )


def board_response(rows: Sequence[tuple[str, int]]) -> HTTPResponse:
    """The ten highest scores, as in the specification."""
    board = [{"user": name, "score": score} for name, score in rows]
    return HTTPResponse(json.dumps(board), content_type="application/json")


def run(app: "Sanic[Any, Any]", settings: PeerSettings) -> None:
    """Serve as careful users do: uvloop, no access log, one process."""
    app.config.RESPONSE_TIMEOUT = 3600
    app.config.KEEP_ALIVE_TIMEOUT = 120
    app.run(host=HOST, port=settings.port, access_log=False, motd=False, single_process=True)
