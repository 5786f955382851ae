"""The database's own testimony: ledger and users from MySQL, samples of the Redis board.

An extra source for the checker, never needed by it. Reads only; knows the tables and keys of
this project's own server (docs/architecture.md) and nothing about its processes.
"""

import re
import ssl
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pymysql
import pymysql.cursors

from harness.evidence.database_snapshot import DatabaseSnapshot, Row, UserRow
from harness.evidence.history import HistoryWriter, RedisSample
from scoreboard import contract
from scoreboard.addresses import mysql_address

if TYPE_CHECKING:
    import redis

READ_TIMEOUT_S = 60

_SAMPLE = """
local meta = redis.call('HMGET', KEYS[1], 'seq', 'epoch', 'incarnation')
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
return {meta[1], meta[2], meta[3], redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'),
        last[1] and last[1][1] or false}
"""


def mysql_parameters(url: str) -> dict[str, Any]:
    """`mysql://user:password@host:port/db` as keyword arguments of pymysql.

    Raises ValueError, also for certificates that cannot be used.
    """
    address = mysql_address(url)
    found: dict[str, Any] = {
        name: getattr(address, name) for name in ("host", "port", "user", "password", "database")
    }
    if address.ssl_mode == "DISABLED":
        return found | {"ssl_disabled": True}
    try:
        context = ssl.create_default_context(cafile=address.ssl_ca or None)
        if address.ssl_cert:
            context.load_cert_chain(address.ssl_cert, address.ssl_key)
    except OSError as error:
        raise ValueError(f"{', '.join(address.files)}: {error.strerror or error}") from None
    context.check_hostname = address.ssl_mode == "VERIFY_IDENTITY"
    if address.ssl_mode == "REQUIRED":
        context.verify_mode = ssl.CERT_NONE
    return found | {"ssl": context}


def words_of(error: pymysql.MySQLError) -> str:
    """What the server or the driver says, without numbers that only programs read."""
    return re.sub(r"\[Errno -?\d+\] ", "", str(error.args[-1] if error.args else error))


_ROWS = (
    "SELECT submission_id, principal, user_id, increment, outcome, seq, score_after,"
    " committed_at_us FROM ledger "
)


def read_database_snapshot(
    mysql_url: str, *, after_seq: int = -1, since_us: int = 0
) -> DatabaseSnapshot:
    """Ledger, users and board at one moment. Raises ValueError and the driver's errors.

    Of the ledger, the changes after `after_seq` and what was decided otherwise since the moment
    `since_us`. Holds those rows in memory: about 400 bytes each.
    """
    connection = pymysql.connect(
        **mysql_parameters(mysql_url),
        read_timeout=READ_TIMEOUT_S,
        cursorclass=pymysql.cursors.SSCursor,
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            cursor.execute("SELECT seq FROM boards WHERE id = 1")
            [(board_seq,)] = cursor.fetchall()
            cursor.execute("SELECT id, name, score, seq FROM users ORDER BY id")
            users = [UserRow(*row) for row in cursor.fetchall()]
            rows: list[Row] = []
            for where, least in (
                ("WHERE seq > %s", after_seq),
                ("WHERE seq IS NULL AND committed_at_us >= %s", since_us),
            ):
                cursor.execute(_ROWS + where, (least,))
                rows += [
                    Row(str(uuid.UUID(bytes=sid)), principal.decode(), *rest)
                    for sid, principal, *rest in cursor
                ]
    finally:
        connection.close()
    return DatabaseSnapshot(rows=rows, users=users, board_seq=board_seq)


def board_seq(mysql_url: str) -> int:
    """The number of the newest committed change. Raises the driver's errors."""
    connection = pymysql.connect(**mysql_parameters(mysql_url), read_timeout=5)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT seq FROM boards WHERE id = 1")
            [(seq,)] = cursor.fetchall()
            return int(seq)
    finally:
        connection.close()


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The Redis board at one moment. An empty epoch: Redis has no board."""

    epoch: str = ""
    cursor: int = 0
    scores: dict[str, int] = field(default_factory=dict)
    stream_last: int | None = None

    def record(self, writer: HistoryWriter) -> None:
        """Put it into a history."""
        writer.put(
            RedisSample,
            epoch=self.epoch,
            cursor=self.cursor,
            scores=self.scores,
            stream_last=self.stream_last,
        )


def sample_redis(client: "redis.Redis") -> Sample:
    """Read the Redis board in one atomic step.

    Raises redis.RedisError. Blocks Redis for about 1 ms per thousand users.
    """
    answer: Any = client.eval(
        _SAMPLE, 3, contract.META_KEY, contract.RANKING_KEY, contract.STREAM_KEY
    )
    # A nil inside a Lua table ends it, so what is missing is sent as false.
    seq, epoch, incarnation, flat, last = answer
    if seq is None:
        return Sample()
    scores = {
        str(contract.member_user_id(member)): -int(score)
        for member, score in zip(flat[::2], flat[1::2], strict=True)
    }
    return Sample(
        epoch=f"{(incarnation or b'').decode()}:{(epoch or b'').decode()}",
        cursor=int(seq),
        scores=scores,
        stream_last=None if last is None else int(last.split(b"-")[0]),
    )


def connect_redis(url: str) -> "redis.Redis":
    """A client for samples: never repeats a command, never waits for long."""
    # A tenth of a second, which only those who look into Redis wait for.
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=2,
        socket_connect_timeout=1,
        protocol=2,
    )


def save_database_snapshot(database: DatabaseSnapshot, path: Path) -> None:
    """Keep a testimony beside its history, so that the run can be judged again."""
    path.write_bytes(msgspec.json.encode(database))


def load_database_snapshot(path: Path) -> DatabaseSnapshot:
    """Read what :func:`save_database_snapshot` wrote. Raises OSError and msgspec.DecodeError."""
    return msgspec.json.decode(path.read_bytes(), type=DatabaseSnapshot)
