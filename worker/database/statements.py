"""The SQL text of the worker's reads and writes, and users in its rows. Nothing here runs it.

Text with numbers and hexadecimal literals only, so there is nothing to escape: several
statements go in one round trip, which parameters of the driver would not allow.
"""

from collections.abc import Iterable
from typing import Any

from adapters.ledger_queries import BOARD_ID
from scoreboard.domain import LedgerRow, Outcome, User
from scoreboard.fraud import Activity, decode_recent, encode_recent
from scoreboard.rules import Settlement

USER_COLUMNS = "id, name, score, seq, window_start_s, window_points, recent_increments"
USERS_AS_TEXT = (
    "GROUP_CONCAT(id, ',', score, ',', seq, ',', window_start_s, ',', window_points, ',',"
    " HEX(recent_increments), ',', HEX(name) SEPARATOR ';')"
)
"""All users as one string: the driver spends a microsecond on each field of each row."""

_UPDATED_COLUMNS = ("score", "seq", "window_start_s", "window_points", "recent_increments")

COMMIT_SYNCED = "UPDATE log_syncs SET number = number + 1 WHERE id = 1; COMMIT"
"""Ends a transaction that has only read; then all it has read would survive a crash of MySQL.

InnoDB shows a commit to others before the log is synced (MySQL bug 74303). This commit comes
later in the log, and its sync covers everything before it. On the reader's own connection, since
another one might reach a server that has crashed and started again in between.
"""


def synced(query: str, durable: bool) -> str:
    """The query; when `durable`, no crash of MySQL can take back what it reads."""
    return f"{query}; {COMMIT_SYNCED}" if durable else query


def numbers(values: Iterable[int]) -> str:
    """The values for an IN list."""
    return ",".join(str(int(value)) for value in values)


def user_from(row: tuple[Any, ...]) -> User:
    """A user from a row of USER_COLUMNS."""
    user_id, name, score, seq, window_start_s, window_points, recent = row
    activity = Activity(
        window_start_s=window_start_s, window_points=window_points, recent=decode_recent(recent)
    )
    return User(id=user_id, name=name, score=score, seq=seq, activity=activity)


def users_from_text(text: str | None) -> dict[int, User]:
    """Users by id, from what USERS_AS_TEXT selects."""
    users = {}
    for line in text.split(";") if text else ():
        user_id, score, seq, window_start_s, window_points, recent, name = line.split(",")
        activity = Activity(
            window_start_s=int(window_start_s),
            window_points=int(window_points),
            recent=decode_recent(bytes.fromhex(recent)),
        )
        users[int(user_id)] = User(
            id=int(user_id),
            name=bytes.fromhex(name).decode(),
            score=int(score),
            seq=int(seq),
            activity=activity,
        )
    return users


def users_statement(users: Iterable[User]) -> str:
    """Stores the totals of users whose rows this transaction has locked.

    An upsert: the one form of a multi-row update that both MySQL and MariaDB run
    in linear time. The rows exist, so their names stay as they are.
    """
    values = ",".join(
        f"({user.id},'',{user.score},{user.seq},{user.activity.window_start_s},"
        f"{user.activity.window_points},x'{encode_recent(user.activity.recent).hex()}')"
        for user in users
    )
    updates = ", ".join(f"{column} = VALUES({column})" for column in _UPDATED_COLUMNS)
    return f"INSERT INTO users ({USER_COLUMNS}) VALUES {values} ON DUPLICATE KEY UPDATE {updates}"


def settlement_writes(settlement: Settlement, committed_us: int) -> str:
    """The statements of a settlement. Numbers and hexadecimal only: nothing to escape."""
    rows = ",".join(_ledger_values(row, committed_us) for row in settlement.rows)
    statements = [
        "INSERT INTO ledger (submission_id, principal, user_id, increment, outcome, seq,"
        f" score_after, received_at_us, committed_at_us) VALUES {rows}"
    ]
    held = ",".join(
        f"(x'{row.submission.id.hex()}',{row.submission.user_id},'{' '.join(row.reasons)}',"
        f"{committed_us})"
        for row in settlement.rows
        if row.outcome is Outcome.HELD
    )
    if held:
        statements.append(
            f"INSERT INTO reviews (submission_id, user_id, reasons, opened_at_us) VALUES {held}"
        )
    if settlement.users:
        statements += [
            users_statement(settlement.users),
            f"UPDATE boards SET seq = {settlement.last_seq} WHERE id = {BOARD_ID}",
        ]
    return ";".join(statements)


def _ledger_values(row: LedgerRow, committed_us: int) -> str:
    submission = row.submission
    seq = "NULL" if row.seq is None else row.seq
    score_after = "NULL" if row.score_after is None else row.score_after
    return (
        f"(x'{submission.id.hex()}',x'{submission.principal.encode().hex()}',"
        f"{submission.user_id},{submission.increment},'{row.outcome.value}',"
        f"{seq},{score_after},{submission.received_us},{committed_us})"
    )
