"""The board before and after a run, from MySQL, else from GET /scores. Not the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pymysql

from harness.evidence.database import mysql_parameters, words_of
from harness.measure.terminal import reason_of
from harness.net.target import Target, get_board, get_scores

BLACK_BOX_PLAYERS_MAX = 20_000


@dataclass(frozen=True, kw_only=True)
class Look:
    """The board at one moment. `scores` by name; `names` by user id where MySQL was read.

    `scores` is None when the board never stood still long enough to be read whole.
    """

    seq: int
    scores: Mapping[str, int] | None
    names: Mapping[int, str] = field(default_factory=dict)
    from_mysql: bool = False


def connect(url: str) -> "pymysql.Connection[Any]":
    """A connection to `mysql://user:password@host:port/db`. Raises OSError."""
    try:
        return pymysql.connect(**mysql_parameters(url), autocommit=True, connect_timeout=5)
    except pymysql.MySQLError as error:
        raise OSError(f"MySQL cannot be read: {words_of(error)}") from error


def look(target: Target, players: int) -> Look:
    """The board now. Raises OSError when the server does not answer."""
    if target.mysql_url:
        return look_into_mysql(target.mysql_url)
    if players > BLACK_BOX_PLAYERS_MAX:
        return Look(seq=get_scores(target, limit=1).seq, scores=None)
    page = get_board(target, most=10 * BLACK_BOX_PLAYERS_MAX)
    if page is None:
        return Look(seq=get_scores(target, limit=1).seq, scores=None)
    return Look(seq=page.seq, scores=dict(page.rows))


def last_look(target: Target, players: int) -> tuple[Look, str]:
    """The board after a run, or an empty one and why: what was measured is worth keeping."""
    try:
        return look(target, players), ""
    except OSError as error:
        return Look(seq=-1, scores=None), reason_of(error)


def look_into_mysql(url: str) -> Look:
    """The board's seq and all users in one consistent read. Raises OSError."""
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            cursor.execute("SELECT seq FROM boards WHERE id = 1")
            row = cursor.fetchone()
            cursor.execute("SELECT id, name, score FROM users")
            users = cursor.fetchall()
            cursor.execute("COMMIT")
    except pymysql.MySQLError as error:
        raise OSError(f"MySQL cannot be read: {words_of(error)}") from error
    finally:
        connection.close()
    return Look(
        seq=int(row[0]) if row else 0,
        scores={str(name): int(score) for _, name, score in users},
        names={int(user): str(name) for user, name, _ in users},
        from_mysql=True,
    )
