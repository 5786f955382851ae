"""MySQL loses its last changes, as a promoted replica or a restored backup lacks them, and they
are brought back from Temporal.

One transaction under the board's lock takes them back: nothing runs in between, no session is
cut and nobody is told, which is the hardest form of a loss to notice. What was decided without a
change stays. Real servers that lose and take over are for the lab.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import msgspec
import pymysql

from harness.evidence.database import mysql_parameters
from harness.evidence.database_snapshot import Row

REPLAY_BEFORE_S = 60.0
"""How long before the loss a replay begins: the oldest batch that was still on its way."""
REPLAY_TIMEOUT_S = 60.0


def take_back(mysql_url: str, count: int) -> tuple[int, list[Row]]:
    """Set the ledger back by up to `count` changes of its history: the number that it is left at,
    and what it lost. Raises the driver's errors."""
    connection = pymysql.connect(**mysql_parameters(mysql_url), read_timeout=10)
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT seq, starts_after FROM boards WHERE id = 1 FOR UPDATE")
        [(seq, start)] = cursor.fetchall()
        kept = max(seq - count, start)
        cursor.execute(
            "SELECT submission_id, principal, user_id, increment, outcome, seq, score_after,"
            " committed_at_us FROM ledger WHERE seq > %s ORDER BY seq",
            (kept,),
        )
        rows = [
            Row(str(uuid.UUID(bytes=sid)), principal.decode(), *rest)
            for sid, principal, *rest in cursor.fetchall()
        ]
        cursor.execute("DELETE FROM ledger WHERE seq > %s", (kept,))
        for row in rows:
            cursor.execute(
                "UPDATE users SET score = score - %s, seq ="
                " (SELECT COALESCE(MAX(seq), 0) FROM ledger WHERE user_id = %s) WHERE id = %s",
                (row.increment, row.user, row.user),
            )
        cursor.execute("UPDATE boards SET seq = %s WHERE id = 1", (kept,))
        connection.commit()
    return kept, rows


def loss_of(kept: int, rows: list[Row]) -> dict[str, Any]:
    """The fields of the history's `Loss`, by which the checker knows each change that is gone."""
    lost = [(r.sid, r.user, r.seq, r.score_after, r.increment) for r in rows]
    return {"store": "mysql", "kept_seq": kept, "rows": lost}


async def replay(run: Callable[..., Awaitable[str]], *, lost_s: float) -> int:
    """`replay` as an operator runs it after a loss, again until it works; how many submissions
    came back. `run` runs a program of ours with its arguments and raises RuntimeError when it
    fails. Raises the last such error at the deadline."""
    since = datetime.fromtimestamp(lost_s - REPLAY_BEFORE_S, UTC).isoformat()
    deadline = time.monotonic() + REPLAY_TIMEOUT_S
    while True:
        try:
            said = await run("worker", "replay", "--since", since)
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
        else:
            return int(msgspec.json.decode(said)["brought_back"])
