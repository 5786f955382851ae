"""The board before and after a run, from MySQL, else from GET /scores. Not the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pymysql

from harness.evidence.database import mysql_parameters, words_of
from harness.measure.terminal import reason_of
from harness.net.target import Target, get_board, get_scores
from harness.targets.namesakes import Labels, labelled, labels_of

BLACK_BOX_PLAYERS_MAX = 20_000


@dataclass(frozen=True, kw_only=True)
class Look:
    """The board at one moment. `scores` by name; `names` by user id where MySQL was read; `labels`
    of players who share a name, who are called by them in both.

    `scores` is None when the board never stood still long enough to be read whole.
    """

    seq: int
    scores: Mapping[str, int] | None
    names: Mapping[int, str] = field(default_factory=dict)
    from_mysql: bool = False
    labels: Labels = field(default_factory=dict)


def connect(url: str) -> "pymysql.Connection[Any]":
    """A connection to `mysql://user:password@host:port/db`. Raises OSError."""
    try:
        return pymysql.connect(**mysql_parameters(url), autocommit=True, connect_timeout=5)
    except pymysql.MySQLError as error:
        raise OSError(f"MySQL cannot be read: {words_of(error)}") from error


def look(target: Target, players: int) -> Look:
    """The board now. Raises OSError when the server does not answer."""
    if target.mysql_url:
        return look_into_mysql(target.mysql_url, target.labels)
    if players > BLACK_BOX_PLAYERS_MAX:
        return Look(seq=get_scores(target, limit=1).seq, scores=None)
    page = get_board(target, most=10 * BLACK_BOX_PLAYERS_MAX)
    if page is None:
        return Look(seq=get_scores(target, limit=1).seq, scores=None)
    labels, rows = target.labels, page.rows
    if labels is None:
        labels = labels_of(
            (user, name)
            for (name, _), user in zip(rows, page.ids, strict=False)
            if user is not None
        )
        rows = labelled(rows, page.ids, labels) if labels else rows
    return Look(seq=page.seq, scores=dict(rows), labels=labels)


def last_look(target: Target, players: int) -> tuple[Look, str]:
    """The board after a run, or an empty one and why: what was measured is worth keeping."""
    try:
        return look(target, players), ""
    except OSError as error:
        return Look(seq=-1, scores=None), reason_of(error)


def look_into_mysql(url: str, labels: Labels | None = None) -> Look:
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
    names = {int(user): str(name) for user, name, _ in users}
    if labels is None:
        labels = labels_of(names.items())
    names |= {user: label for user, label in labels.items() if user in names}
    return Look(
        seq=int(row[0]) if row else 0,
        scores={names[int(user)]: int(score) for user, _, score in users},
        names=names,
        from_mysql=True,
        labels=labels,
    )
