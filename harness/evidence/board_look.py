"""The board before and after a run, and the ledger between: from MySQL, else from GET /scores.

What a load run's own judgement compares. The whole ledger, for the checker, is `database`'s.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql

from harness.net.target import Target, get_board, get_scores

BLACK_BOX_PLAYERS_MAX = 20_000
LEDGER_ROWS_AT_ONCE = 20_000


@dataclass(frozen=True, kw_only=True)
class Look:
    """The board at one moment. `scores` by name; `names` by user id where MySQL was read.

    `scores` is None when the board never stood still long enough to be read whole.
    """

    seq: int
    scores: Mapping[str, int] | None
    names: Mapping[int, str] = field(default_factory=dict)
    from_mysql: bool = False


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """A row of the ledger as the reconciliation needs it. `seq` is None unless applied."""

    submission_id: bytes
    user_id: int
    increment: int
    outcome: str
    seq: int | None
    score_after: int | None


def connect(url: str) -> "pymysql.Connection[Any]":
    """A connection to `mysql://user:password@host:port/db`. Raises OSError."""
    parts = urlsplit(url)
    try:
        return pymysql.connect(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=parts.path.lstrip("/"),
            autocommit=True,
            connect_timeout=5,
        )
    except pymysql.MySQLError as error:
        raise OSError(f"MySQL cannot be read: {error}") from error


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
        raise OSError(f"MySQL cannot be read: {error}") from error
    finally:
        connection.close()
    return Look(
        seq=int(row[0]) if row else 0,
        scores={str(name): int(score) for _, name, score in users},
        names={int(user): str(name) for user, name, _ in users},
        from_mysql=True,
    )


def ledger_since(url: str, seq: int, rejected_ids: Iterable[bytes] = ()) -> list[LedgerRow]:
    """Applied rows after `seq` in order, and the rows of `rejected_ids`. Raises OSError."""
    connection = connect(url)
    columns = "submission_id, user_id, increment, outcome, seq, score_after"
    rows: list[LedgerRow] = []
    try:
        with connection.cursor() as cursor:
            last = seq
            while True:
                cursor.execute(
                    f"SELECT {columns} FROM ledger WHERE seq > %s ORDER BY seq LIMIT %s",
                    (last, LEDGER_ROWS_AT_ONCE),
                )
                found = [_row(values) for values in cursor.fetchall()]
                rows += found
                if len(found) < LEDGER_ROWS_AT_ONCE:
                    break
                last = found[-1].seq or last
            wanted = list(rejected_ids)
            for start in range(0, len(wanted), 1000):
                part = wanted[start : start + 1000]
                marks = ",".join(["%s"] * len(part))
                cursor.execute(
                    f"SELECT {columns} FROM ledger WHERE submission_id IN ({marks})", part
                )
                rows += [_row(values) for values in cursor.fetchall()]
    except pymysql.MySQLError as error:
        raise OSError(f"MySQL cannot be read: {error}") from error
    finally:
        connection.close()
    return rows


def _row(values: Sequence[Any]) -> LedgerRow:
    return LedgerRow(
        submission_id=bytes(values[0]),
        user_id=int(values[1]),
        increment=int(values[2]),
        outcome=str(values[3]),
        seq=None if values[4] is None else int(values[4]),
        score_after=None if values[5] is None else int(values[5]),
    )
