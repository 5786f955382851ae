"""What a rebuilt board is made of. Not how it goes into place: see `redis_board`."""

from collections.abc import Sequence
from typing import Any

from adapters.ledger_queries import BoardRow
from adapters.redis import Redis
from scoreboard import contract
from scoreboard.domain import User
from worker.board.script_arguments import stream_entries
from worker.database.ledger import Ledger

RECENT_CHANGES = 5000
"""Changes that a rebuilt stream begins with, for listeners that come back."""

BUILD_TTL_S = 900
"""An abandoned rebuild leaves nothing behind for longer than this."""


async def add_users(client: Redis, built: tuple[str, ...], users: Sequence[User]) -> None:
    """Add users to a ranking and members that are being built. Raises redis' errors."""
    if not users:
        return
    ranking, members = built
    pipeline = client.pipeline(transaction=False)
    by_member = {contract.ranking_member(u.id, u.seq, u.name): u for u in users}
    pipeline.zadd(ranking, {member: -user.score for member, user in by_member.items()})
    pipeline.hset(members, mapping={str(u.id): member for member, u in by_member.items()})
    for key in built:
        pipeline.expire(key, BUILD_TTL_S)
    await pipeline.execute()


async def entries_for_new_stream(ledger: Ledger, board: BoardRow, seq: int) -> list[Any]:
    """What a stream that has to be replaced begins with: the latest changes of its history up to
    `seq`, or an entry without any, which wakes those who wait for the next one."""
    after = max(board.starts_after, seq - RECENT_CHANGES)
    run = await ledger.run_after(after, min(RECENT_CHANGES, seq - after))
    if not run.changes:
        return [seq, "", contract.encode_changes(())] if seq else []
    return stream_entries(run)
