"""A board in a Redis database of a test's own, fed from a ledger, and reads of it as servers do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from adapters.redis import connect
from scoreboard import contract
from scoreboard.domain import Change, User
from tests.support.board_order import top
from tests.support.ledgers import LedgerBench
from worker.board.redis_board import RedisBoard

STREAM_ENTRIES = 1000


class Seen(msgspec.Struct, frozen=True):
    """One atomic look at the board: (user id, score) best first, and what it claims to contain."""

    seq: int
    epoch: int
    ranking: list[tuple[int, int]]


class BoardBench:
    """A board, its Redis client and its ledger."""

    def __init__(self, bench: LedgerBench, client: Any, stream_entries: int) -> None:
        self.bench = bench
        self.redis = client
        self.board = RedisBoard(client, bench.ledger, stream_entries=stream_entries)
        # What a batch shows is looked at right after it, on however busy a machine.
        self.board.rebuild_wait_s = 30.0

    async def look(self) -> Seen:
        """Ranking and cursor in one transaction."""
        pipeline = self.redis.pipeline(transaction=True)
        pipeline.hmget(contract.META_KEY, ["seq", "epoch"])
        pipeline.zrange(contract.RANKING_KEY, 0, -1, withscores=True)
        (seq, epoch), entries = await pipeline.execute()
        return Seen(
            seq=int(seq or -1),
            epoch=contract.position_of(epoch) or 0,
            ranking=[(contract.member_user_id(member), int(-score)) for member, score in entries],
        )

    async def streamed(self) -> list[Change]:
        """All changes that the stream holds."""
        entries = await self.redis.xrange(contract.STREAM_KEY)
        for name, entry in entries:
            # None where a history begins.
            changes = contract.decode_changes(entry[contract.STREAM_FIELD])
            assert not changes or int(name.split(b"-")[0]) == changes[-1].seq
        return [c for _, e in entries for c in contract.decode_changes(e[contract.STREAM_FIELD])]

    async def cursors(self) -> tuple[int, int]:
        """How far ranking and stream are."""
        pipeline = self.redis.pipeline(transaction=True)
        pipeline.hget(contract.META_KEY, "seq")
        pipeline.xrevrange(contract.STREAM_KEY, count=1)
        seq, entries = await pipeline.execute()
        last = entries[0][0].split(b"-")[0] if entries else seq
        return int(seq or -1), int(last or -1)

    async def in_mysql(self) -> list[tuple[int, int]]:
        """(user id, score) as the rules rank what MySQL has."""
        rows = await self.bench.rows("SELECT id, name, score, seq FROM users")
        users = [User(id=r[0], name=r[1], score=r[2], seq=r[3]) for r in rows]
        return [(user.id, user.score) for user in top(users, len(users))]

    async def names(self) -> dict[int, str]:
        """Names that the board shows."""
        found = await self.redis.zrange(contract.RANKING_KEY, 0, -1)
        return {contract.member_user_id(member): member[16:].decode() for member in found}

    async def agrees(self) -> None:
        """Assert that ranking, names and stream are what MySQL says."""
        seq = (await self.bench.ledger.board()).seq
        assert await self.cursors() == (seq, seq)
        assert (await self.look()).ranking == await self.in_mysql()
        assert await self.names() == dict(await self.bench.rows("SELECT id, name FROM users"))
        members = await self.redis.hgetall(contract.MEMBERS_KEY)
        ranked = await self.redis.zrange(contract.RANKING_KEY, 0, -1)
        assert sorted(members.values()) == sorted(ranked)
        streamed = await self.streamed()
        changes = await self.bench.changes()
        assert streamed == changes[len(changes) - len(streamed) :]


@asynccontextmanager
async def opened_board(
    bench: LedgerBench, redis_url: str, *, stream_entries: int = STREAM_ENTRIES
) -> AsyncIterator[BoardBench]:
    """A board on this ledger, as one worker process has it; several may be open."""
    client = connect(redis_url)
    opened = BoardBench(bench, client, stream_entries)
    try:
        yield opened
    finally:
        await opened.board.close()
        await client.aclose()
