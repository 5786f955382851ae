"""The board in Redis: a copy of the ledger that is only ever moved forward, in order.

The ranking and the stream that SSE hubs read share one cursor: one script moves both.
What is missing comes from the ledger, so a late retry cannot take a score back, a gap
is filled, and an emptied Redis is rebuilt whole. Nothing is shown that a crash of MySQL
could take back. Not the source of anything: all of it can be thrown away.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import asdict

import structlog

from adapters.files import script
from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS, Redis
from adapters.tasks import end
from scoreboard import contract
from scoreboard.domain import Change, User
from worker import metrics
from worker.board.drift import Drift
from worker.database.ledger import Ledger
from worker.workflows.board_refresh import RefreshReport

log = structlog.get_logger()

CHANGES_PER_CALL = 1000
"""Most changes in one script call or stream entry: a few milliseconds of Redis' one thread."""

RECENT_BATCHES = 64

RECENT_CHANGES = 5000
"""Changes that a rebuilt stream begins with, for listeners that come back."""

BUILD_TIMEOUT_S = 300.0
"""Longest that reading all users and building their ranking may take; a million takes well
under a minute."""

BUILD_TTL_S = 900
"""An abandoned rebuild leaves nothing behind for longer than this."""

SWAP_ATTEMPTS = 20

REBUILD_WAIT_S = 0.25
"""Longest that a step waits for a lost copy to be rebuilt: with many users that takes half a
minute, and a batch under way so long would keep others from starting."""

_RANKING_KEYS = (
    contract.META_KEY,
    contract.RANKING_KEY,
    contract.MEMBERS_KEY,
)


class RebuildFailed(Exception):
    """Redis kept losing or outrunning the rebuilt ranking; trying again later is safe."""


class RedisBoard:
    """Ranking and stream, fed from a ledger."""

    def __init__(self, client: Redis, ledger: Ledger, *, stream_entries: int) -> None:
        self._redis = client
        self._ledger = ledger
        self._stream_entries = stream_entries
        self._rebuilding = asyncio.Lock()
        self._repairing: asyncio.Task[None] | None = None
        self._incarnation: str | None = None
        self._silenced = False
        # By their last number: what was committed here need not be read back.
        self._recent: dict[int, Sequence[Change]] = {}
        self._advance_script = client.register_script(script(__package__, "advance"))
        self._swap_script = client.register_script(script(__package__, "swap"))
        self._shown_script = client.register_script(script(__package__, "shown"))

    async def publish(self, changes: Sequence[Change], last_seq: int) -> None:
        """Bring the board to at least `last_seq`; `changes` save a look at the ledger.

        A lost board is rebuilt first; when that takes long, it goes on alone and shows
        `last_seq` when it is done. `last_seq` is of a commit that has returned, here or
        elsewhere. Safe to repeat: the cursor in Redis decides. Raises redis' and the MySQL
        driver's errors.
        """
        await self._bring_forward(changes, last_seq)

    def remember(self, changes: Sequence[Change]) -> None:
        """Changes just committed here, consecutive; a loss only costs a look at the ledger."""
        if changes:
            self._recent[changes[-1].seq] = changes
        if len(self._recent) > RECENT_BATCHES:
            del self._recent[next(iter(self._recent))]

    async def announce_done(self, batch_id: str) -> None:
        """Tell API processes that a batch has ended. A hint: nobody may hear it, and failing to
        give it costs them a look-up. Never raises REDIS_ERRORS."""
        try:
            await self._redis.publish(contract.DONE_CHANNEL, batch_id)
        except REDIS_ERRORS as error:
            metrics.ANNOUNCEMENTS_LOST.inc()
            if not self._silenced:
                log.warning("announcement_lost", error=reason_of(error))
            self._silenced = True
        else:
            self._silenced = False

    async def repair(self) -> None:
        """Rebuild what Redis lost and publish what it missed, traffic or not."""
        if await self._is_lost():
            async with self._rebuilding:
                # While this task waited, another one may have done it.
                if await self._is_lost():
                    await self._rebuild()
        seq = await self._redis.hget(contract.META_KEY, "seq")
        if seq is not None and int(seq) < (await self._ledger.board()).seq:
            # A commit can be visible before it is durable.
            board = await self._ledger.board(durable=True)
            await self.publish(await self._changes_after(int(seq), board.seq), board.seq)

    async def close(self) -> None:
        """End a rebuild that goes on alone. The client stays open."""
        if self._repairing is not None:
            await end([self._repairing])

    async def shows_every_user(self) -> bool:
        """Whether the ranking has as many users as MySQL."""
        shown = int(await self._redis.hlen(contract.MEMBERS_KEY))
        return shown == await self._ledger.users_count()

    async def _is_lost(self) -> bool:
        """Whether Redis holds no copy of this history that can be moved forward."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hmget(contract.META_KEY, ["seq", "incarnation"])
        pipeline.zcard(contract.RANKING_KEY)
        pipeline.hlen(contract.MEMBERS_KEY)
        (seq, incarnation), *sizes = await pipeline.execute()
        # Read after Redis: whatever Redis had was committed by then.
        board = await self._ledger.board()
        if seq is not None and incarnation == board.incarnation.encode() and int(seq) > board.seq:
            # MySQL was set back, say by restoring a backup: the same numbers will
            # soon mean other changes, so this is another history.
            log.warning("ledger_was_set_back", redis=int(seq), mysql=board.seq)
            board = await self._ledger.begin_incarnation(board)
        self._use_history(board.incarnation)
        # One of the keys may be gone alone, by eviction or by hand.
        torn = len({size > 0 for size in sizes}) > 1
        return seq is None or torn or incarnation != board.incarnation.encode()

    async def rebuild(self) -> int:
        """Build the ranking anew from MySQL beside the old one and swap it in; its seq.

        Readers see the old ranking until the new one stands, and traffic goes
        on: what it publishes meanwhile is replayed before the swap. Raises
        RebuildFailed.
        """
        async with self._rebuilding:
            return await self._rebuild()

    async def _rebuild(self) -> int:
        for _ in range(SWAP_ATTEMPTS):
            seq = await self._build_and_swap(self._build)
            if seq is not None:
                log.info("board_rebuilt", seq=seq)
                metrics.BOARD_REBUILDS.labels("lost").inc()
                return seq
        raise RebuildFailed

    async def refresh(self, heartbeat: Callable[[], None]) -> RefreshReport:
        """`rebuild`, with a count of what was wrong; calls `heartbeat` once a chunk."""
        async with self._rebuilding:
            for _ in range(SWAP_ATTEMPTS):
                drift = Drift()
                before = int(await self._redis.hlen(contract.MEMBERS_KEY))

                async def build(
                    built: tuple[str, ...], users: Sequence[User], drift: Drift = drift
                ) -> None:
                    heartbeat()
                    await self._compare(users, drift)
                    await self._build(built, users)

                seq = await self._build_and_swap(build)
                if seq is not None:
                    report = RefreshReport(
                        seq=seq,
                        users=drift.users,
                        wrong=drift.wrong,
                        missing=drift.missing,
                        surplus=max(0, before - (drift.users - drift.missing)),
                    )
                    log.info("board_refreshed", **asdict(report))
                    metrics.BOARD_REBUILDS.labels("schedule").inc()
                    for kind in ("wrong", "missing", "surplus"):
                        metrics.BOARD_DRIFT.labels(kind).set(getattr(report, kind))
                    return report
            raise RebuildFailed

    async def _compare(self, users: Sequence[User], drift: Drift) -> None:
        if not users:
            return
        cursor = int(await self._redis.hget(contract.META_KEY, "seq") or 0)
        # At one moment: a user who gains a point has another member from then on.
        members, scores = await self._shown_script(
            keys=(contract.RANKING_KEY, contract.MEMBERS_KEY), args=[user.id for user in users]
        )
        drift.inspect(
            users,
            members,
            [None if score is None else float(score) for score in scores],
            cursor=cursor,
        )

    async def _bring_forward(self, changes: Sequence[Change], last_seq: int) -> None:
        if not last_seq:
            return
        if self._incarnation is None:
            self._use_history((await self._ledger.board()).incarnation)
        if not changes:
            changes = self._recent.get(last_seq) or await self._ledger.changes_after(
                last_seq - 1, 1
            )
        while True:
            status, *rest = await self._advance(changes[:CHANGES_PER_CALL], self._incarnation or "")
            if status == -1:
                if not await self._repaired_soon():
                    # What is committed by the time of the swap is in it, and the next look
                    # of `repair` brings what came after.
                    return
                # The repair may have brought this copy far enough, or not:
                # the next call tells, by its cursor.
                continue
            cursor = rest[0]
            if cursor >= last_seq:
                return
            metrics.BOARD_CATCH_UPS.inc()
            changes = await self._changes_after(cursor, last_seq)
            # The cursor never passes the ledger: last_seq is committed, so there is more.
            assert changes, "the ledger ends before a committed change"
            assert changes[0].seq == cursor + 1, "the ledger has a gap"

    async def _repaired_soon(self) -> bool:
        """Repair, or wait for a running repair; False when it takes long and goes on.

        Raises what `repair` raises.
        """
        if self._repairing is None or self._repairing.done():
            self._repairing = asyncio.create_task(self.repair())
            self._repairing.add_done_callback(_tell_of_failure)
        repairing = self._repairing
        await asyncio.wait({repairing}, timeout=REBUILD_WAIT_S)
        if repairing.done():
            repairing.result()
        return repairing.done()

    def _use_history(self, incarnation: str) -> None:
        if incarnation != self._incarnation:
            # The same numbers mean other changes there.
            self._recent.clear()
        self._incarnation = incarnation

    async def _changes_after(self, cursor: int, last_seq: int) -> Sequence[Change]:
        """The next changes that are known to last, at most CHANGES_PER_CALL of them.

        The log is synced in order: with `last_seq` everything before it lasts, and what
        comes after it may not.
        """
        recent = (batch for batch in self._recent.values() if batch[0].seq == cursor + 1)
        return next(recent, ()) or await self._ledger.changes_after(
            cursor, min(CHANGES_PER_CALL, last_seq - cursor)
        )

    async def _advance(self, changes: Sequence[Change], incarnation: str) -> list[int]:
        answer: list[int] = await self._advance_script(
            keys=(*_RANKING_KEYS, contract.STREAM_KEY),
            args=[
                incarnation,
                changes[0].seq,
                changes[-1].seq,
                contract.encode_changes(changes),
                self._stream_entries,
                contract.STREAM_FIELD,
                *_latest_per_user(changes),
            ],
        )
        return answer

    async def _build_and_swap(
        self, build: Callable[[tuple[str, ...], Sequence[User]], Awaitable[None]]
    ) -> int | None:
        """One attempt; None when all must begin again: Redis lost the built keys, or somebody
        else's copy went into place meanwhile, whose snapshot may be the later one."""
        prefix = f"{{scores}}:build:{secrets.token_hex(8)}:"
        built = tuple(prefix + name for name in ("ranking", "members"))
        count = seq = 0
        incarnation = ""
        epoch = await self._redis.hget(contract.META_KEY, "epoch") or b""
        async with (
            asyncio.timeout(BUILD_TIMEOUT_S),
            aclosing(self._ledger.snapshot()) as chunks,
        ):
            async for board, users in chunks:
                await build(built, users)
                count += len(users)
                seq, incarnation = board.seq, board.incarnation
        self._use_history(incarnation)
        keeps_stream = await self._advance_to(seq, incarnation)
        attempts = 0
        while attempts < SWAP_ATTEMPTS:
            # What was committed since the snapshot goes into the same call that swaps:
            # with a call between them, traffic would get ahead again each time.
            changes = await self._ledger.changes_after(seq, CHANGES_PER_CALL, durable=True)
            last = changes[-1].seq if changes else seq
            lacking = [part for change in changes for part in (change.seq, *_in_ranking(change))]
            entries = [] if keeps_stream else await self._entries_for_new_stream(last)
            status, *rest = await self._swap_script(
                keys=(*_RANKING_KEYS, contract.STREAM_KEY, *built),
                args=[
                    incarnation,
                    epoch,
                    seq,
                    last,
                    count,
                    contract.STREAM_FIELD,
                    len(lacking),
                    *lacking,
                    *entries,
                ],
            )
            if status == 1:
                await self._redis.unlink(*contract.OUTDATED_KEYS)
                return int(rest[0])
            if status == -1:
                break
            seq, count = last, rest[1]
            # After a full page there is more to catch up with, which is no lost race.
            attempts += len(changes) < CHANGES_PER_CALL
        await self._redis.delete(*built)
        return None

    async def _advance_to(self, seq: int, incarnation: str) -> bool:
        """Bring the board in place to at least `seq`, so that a copy read at `seq` is not ahead
        of the stream; False when that board is to be replaced whole, stream included.

        `seq` is known to last, and so is all before it.
        """
        while True:
            cursor, known = await self._redis.hmget(contract.META_KEY, ["seq", "incarnation"])
            if cursor is None or known != incarnation.encode():
                return False
            if int(cursor) >= seq:
                return True
            await self._advance(await self._changes_after(int(cursor), seq), incarnation)

    async def _entries_for_new_stream(self, seq: int) -> list[int | bytes]:
        """What a stream that has to be replaced begins with."""
        recent = await self._ledger.changes_after(max(0, seq - RECENT_CHANGES), RECENT_CHANGES)
        return _stream_entries([change for change in recent if change.seq <= seq])

    async def _build(self, built: tuple[str, ...], users: Sequence[User]) -> None:
        if not users:
            return
        ranking, members = built
        pipeline = self._redis.pipeline(transaction=False)
        by_member = {contract.ranking_member(u.id, u.seq, u.name): u for u in users}
        pipeline.zadd(ranking, {member: -user.score for member, user in by_member.items()})
        pipeline.hset(members, mapping={str(u.id): member for member, u in by_member.items()})
        for key in built:
            pipeline.expire(key, BUILD_TTL_S)
        await pipeline.execute()


def _tell_of_failure(repairing: "asyncio.Task[None]") -> None:
    # Its waiters may be gone. The next repair starts within a second.
    if not repairing.cancelled() and (error := repairing.exception()) is not None:
        log.warning("rebuild_failed", error=reason_of(error))


def _latest_per_user(changes: Iterable[Change]) -> list[bytes | int]:
    latest = {change.user_id: change for change in changes}
    return [part for change in latest.values() for part in _in_ranking(change)]


def _in_ranking(change: Change) -> tuple[int, bytes, int]:
    """The user's id, member and negated score after the change."""
    member = contract.ranking_member(change.user_id, change.seq, change.name)
    return change.user_id, member, -change.score


def _stream_entries(changes: Sequence[Change]) -> list[int | bytes]:
    entries: list[int | bytes] = []
    for start in range(0, len(changes), CHANGES_PER_CALL):
        chunk = changes[start : start + CHANGES_PER_CALL]
        entries += (chunk[-1].seq, contract.encode_changes(chunk))
    return entries
