"""The board in Redis: a copy of the ledger that is only ever moved forward, in order.

The ranking and the stream that SSE hubs read share one cursor: one script moves both.
What is missing comes from the ledger, so a late retry cannot take a score back, a gap
is filled, and an emptied Redis is rebuilt whole. Nothing is shown that a crash of MySQL
could take back. Not the source of anything: all of it can be thrown away.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

import redis.exceptions
import structlog

from adapters.files import script
from adapters.ledger_queries import BoardRow, Run
from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS, Redis
from adapters.tasks import end
from scoreboard import contract
from scoreboard.domain import User
from worker import metrics
from worker.board.built import add_users, entries_for_new_stream
from worker.board.drift import Drift
from worker.board.histories import end_history, judged
from worker.board.integrity import Copy, State
from worker.board.lines import Lines
from worker.board.look import KEYS, look, of_wrong_type
from worker.board.script_arguments import (
    CHANGES_PER_CALL,
    in_ranking,
    latest_per_user,
)
from worker.database.ledger import Ledger
from worker.workflows.board_refresh import RefreshReport

log = structlog.get_logger()

RECENT_BATCHES = 64

BUILD_TIMEOUT_S = 300.0
"""Longest that reading all users and building their ranking may take; a million takes well
under a minute."""

SWAP_ATTEMPTS = 20

_STANDS, _BEHIND, _UNUSABLE, _FOREIGN = 1, 0, -1, -2
"""What the script that moves the board answers first."""


class Swapped(NamedTuple):
    """A ranking that went into place: the change it is at, how many users the one before `had` at
    that change, none if it was of another history, and how many it `has`."""

    seq: int
    had: int
    has: int


class RebuildFailed(Exception):
    """Redis kept losing or outrunning the rebuilt ranking; trying again later is safe."""


class RedisBoard:
    """Ranking and stream, fed from a ledger."""

    rebuild_wait_s = 0.25
    """Longest that a step waits for a lost copy to be rebuilt: with many users that takes half a
    minute, and a batch under way so long would keep others from starting."""

    def __init__(self, client: Redis, ledger: Ledger, *, stream_entries: int) -> None:
        self._redis = client
        self._ledger = ledger
        self._stream_entries = stream_entries
        self._rebuilding = asyncio.Lock()
        self._repairing: asyncio.Task[None] | None = None
        self._incarnation: str | None = None
        self._silenced = False
        # By their last number: what was committed here need not be read back.
        self._recent: dict[int, Run] = {}
        self._lines = Lines(client, ledger)
        self._build = partial(add_users, client)
        self._advance_script = client.register_script(script(__package__, "advance"))
        self._swap_script = client.register_script(script(__package__, "swap"))
        self._drop_script = client.register_script(script(__package__, "drop"))
        self._adopt_script = client.register_script(script(__package__, "adopt"))

    async def publish(self, last_seq: int, run: Run | None = None) -> None:
        """Bring the board to at least `last_seq`; a `run` up to it saves a look at the ledger.

        A lost board is rebuilt first; when that takes long, it goes on alone and shows
        `last_seq` when it is done. `last_seq` is of a commit that has returned, here or
        elsewhere. Safe to repeat: the cursor in Redis decides. Raises redis' and the MySQL
        driver's errors.
        """
        await self._bring_forward(last_seq, run)

    def remember(self, run: Run) -> None:
        """Changes just committed here; a loss only costs a look at the ledger."""
        if run.changes:
            self._recent[run.changes[-1].seq] = run
        if len(self._recent) > RECENT_BATCHES:
            del self._recent[next(iter(self._recent))]

    async def announce_done(self, batch_ids: Sequence[str]) -> None:
        """Tell API processes that these batches have ended. A hint: nobody may hear it, and failing
        to give it costs them a look-up. Never raises REDIS_ERRORS."""
        try:
            await self._redis.publish(contract.DONE_CHANNEL, " ".join(batch_ids))
        except REDIS_ERRORS as error:
            metrics.ANNOUNCEMENTS_LOST.inc()
            if not self._silenced:
                log.warning("announcement_lost", error=reason_of(error))
            self._silenced = True
        else:
            self._silenced = False

    async def repair(self) -> None:
        """Rebuild what Redis lost, end a history that the ledger does not continue, and publish
        what Redis missed, traffic or not."""
        copy, state = await self._judged()
        if not state.usable:
            async with self._rebuilding:
                # While this task waited, another one may have done it.
                copy, state = await self._judged()
                if state in (State.WRONG, State.FOREIGN):
                    await self._end_history(copy, wrong=state is State.WRONG)
                if not state.usable:
                    await self._drop(copy)
                    await self._rebuild()
        if state is State.UNMARKED:
            await self._adopt_script(keys=KEYS, args=[copy.incarnation, copy.seq or 0, copy.shown])
        raw: Any = await self._redis.hget(contract.META_KEY, "seq")
        seq = contract.position_of(raw)
        if seq is not None and seq < (await self._ledger.board()).seq:
            # A commit can be visible before it is durable.
            board = await self._ledger.board(durable=True)
            await self.publish(board.seq, await self._run_after(seq, board.seq))
        if copy.claims:
            await self._judge_claims(copy.claims)
        if state is State.SOUND:
            await self._compare_some(copy)

    async def close(self) -> None:
        """End a rebuild that goes on alone. The client stays open."""
        if self._repairing is not None:
            await end([self._repairing])

    async def shows_every_user(self) -> bool:
        """Whether the ranking has as many users as MySQL."""
        shown = int(await self._redis.hlen(contract.MEMBERS_KEY))
        return shown == (await self._ledger.users_count())[1]

    async def _judged(self) -> tuple[Copy, State]:
        copy, board, state = await judged(self._redis, self._ledger)
        self._use_history(board.incarnation)
        return copy, state

    async def _end_history(self, copy: Copy, *, wrong: bool) -> bool:
        """Whether the history of a copy has ended, here or elsewhere; nobody reads it then."""
        board = await end_history(self._ledger, copy, wrong=wrong)
        self._use_history(board.incarnation)
        if board.incarnation == copy.incarnation:
            return False
        await self._drop(copy)
        return True

    async def _judge_claims(self, claims: Sequence[Copy]) -> None:
        """Begin another history when an API process has shown what the ledger has no more."""
        await self._redis.delete(contract.CLAIMS_KEY)
        ended = [await self._end_history(claim, wrong=False) for claim in claims]
        if any(ended):
            await self.repair()

    async def _drop(self, copy: Copy) -> None:
        """Let nobody read a board that is being replaced."""
        await self._drop_script(keys=KEYS[:1], args=[copy.incarnation, copy.epoch])

    async def _compare_some(self, copy: Copy) -> None:
        """Compare the top of the ranking, and by turns all users, with the ledger."""
        drift, differs = await self._lines.look(copy)
        # Users that Redis has just lost are missing, not wrong.
        if differs and (await look(self._redis)).whole:
            log.warning("board_differs", wrong=drift.wrong, lost=len(drift.lost))
            async with self._rebuilding:
                await self._replace_wrong(copy)
        elif drift.added:
            # Nobody was shown anything wrong, so the history goes on.
            log.info("users_added_by_hand", users=len(drift.added))
            await self.rebuild()

    async def _replace_wrong(self, copy: Copy) -> int:
        """End the history of a copy that readers may have seen wrong; the seq of the next one."""
        await self._end_history(copy, wrong=True)
        return await self._rebuild()

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
            swapped = await self._build_and_swap(self._build)
            if swapped is not None:
                log.info("board_rebuilt", seq=swapped.seq)
                metrics.BOARD_REBUILDS.labels("lost").inc()
                return swapped.seq
        raise RebuildFailed

    async def refresh(self, heartbeat: Callable[[], None]) -> RefreshReport:
        """`rebuild`, with a count of what was wrong; calls `heartbeat` once a chunk."""
        async with self._rebuilding:
            for _ in range(SWAP_ATTEMPTS):
                drift = Drift()
                copy = await look(self._redis)

                async def build(
                    built: tuple[str, ...], users: Sequence[User], drift: Drift = drift
                ) -> None:
                    heartbeat()
                    await self._lines.compare(users, drift)
                    await self._build(built, users)

                swapped = await self._build_and_swap(build)
                if swapped is not None:
                    report = RefreshReport(
                        seq=swapped.seq,
                        users=drift.users,
                        wrong=drift.wrong,
                        missing=len(drift.missing),
                        surplus=max(0, swapped.had - (swapped.has - len(drift.missing))),
                    )
                    log.info("board_refreshed", **asdict(report))
                    metrics.BOARD_REBUILDS.labels("schedule").inc()
                    for kind in ("wrong", "missing", "surplus"):
                        metrics.BOARD_DRIFT.labels(kind).set(getattr(report, kind))
                    if copy.whole and (drift.misled or report.surplus):
                        report = replace(report, seq=await self._replace_wrong(copy))
                    return report
            raise RebuildFailed

    async def _bring_forward(self, last_seq: int, run: Run | None) -> None:
        if not last_seq:
            return
        if self._incarnation is None:
            self._use_history((await self._ledger.board()).incarnation)
        run = run or self._recent.get(last_seq) or await self._ledger.run_after(last_seq - 1, 1)
        while True:
            status, *rest = await self._advance(run)
            if status == _STANDS and rest[0] >= last_seq:
                return
            if status == _BEHIND and rest[0] >= last_seq and await self._ledger_has(*rest):
                return
            if status in (_STANDS, _BEHIND) and rest[0] < last_seq:
                metrics.BOARD_CATCH_UPS.inc()
                run = await self._run_after(rest[0], last_seq)
                if run.changes and run.changes[0].seq == rest[0] + 1:
                    continue
            # The board is lost, or stands where the ledger has another change, or none.
            self._recent.clear()
            if not await self._repaired_soon():
                # What is committed at the swap is in it, and the next look brings the rest.
                return
            # The repair may have brought this copy far enough: the next call tells.
            run = await self._ledger.run_after(last_seq - 1, 1)

    async def _ledger_has(self, seq: int, shown: bytes) -> bool:
        """Whether the board stands at the ledger's own change."""
        return (await self._ledger.run_after(seq, 0)).before.encode() == shown

    async def _repaired_soon(self) -> bool:
        """Repair, or wait for a running repair; False when it takes long and goes on.

        Raises what `repair` raises.
        """
        if self._repairing is None or self._repairing.done():
            self._repairing = asyncio.create_task(self.repair())
            self._repairing.add_done_callback(_tell_of_failure)
        repairing = self._repairing
        await asyncio.wait({repairing}, timeout=self.rebuild_wait_s)
        if repairing.done():
            repairing.result()
        return repairing.done()

    def _use_history(self, incarnation: str) -> None:
        if incarnation != self._incarnation:
            # The same numbers mean other changes there.
            self._recent.clear()
        self._incarnation = incarnation

    async def _run_after(self, cursor: int, last_seq: int) -> Run:
        """The next changes that are known to last, at most CHANGES_PER_CALL of them.

        The log is synced in order: with `last_seq` everything before it lasts, and what
        comes after it may not.
        """
        recent = (run for run in self._recent.values() if run.changes[0].seq == cursor + 1)
        return next(recent, None) or await self._ledger.run_after(
            cursor, min(CHANGES_PER_CALL, last_seq - cursor)
        )

    async def _advance(self, run: Run) -> list[Any]:
        changes = run.changes[:CHANGES_PER_CALL]
        if not changes:
            return [_UNUSABLE]
        try:
            answer: list[Any] = await self._advance_script(
                keys=KEYS,
                args=[
                    self._incarnation or "",
                    changes[0].seq,
                    changes[-1].seq,
                    contract.encode_changes(changes),
                    self._stream_entries,
                    contract.STREAM_FIELD,
                    run.before,
                    contract.change_identity(changes[-1]),
                    contract.BEFORE_FIELD,
                    *latest_per_user(changes),
                ],
            )
        except redis.exceptions.ResponseError as error:
            if not of_wrong_type(error):
                raise
            return [_UNUSABLE]
        return answer

    async def _build_and_swap(
        self, build: Callable[[tuple[str, ...], Sequence[User]], Awaitable[None]]
    ) -> Swapped | None:
        """One attempt; None when all must begin again: Redis lost the built keys, or somebody
        else's copy went into place meanwhile, whose snapshot may be the later one."""
        prefix = f"{{scores}}:build:{secrets.token_hex(8)}:"
        built = tuple(prefix + name for name in ("ranking", "members"))
        count = 0
        board = BoardRow(0, "")
        epoch = await self._redis.hget(contract.META_KEY, "epoch") or b""
        async with (
            asyncio.timeout(BUILD_TIMEOUT_S),
            aclosing(self._ledger.snapshot()) as chunks,
        ):
            async for board, users in chunks:  # noqa: B007
                await build(built, users)
                count += len(users)
        self._use_history(board.incarnation)
        seq, tip = board.seq, board.tip or contract.start_identity(board.seq)
        keeps_stream = await self._advance_to(seq, board.incarnation)
        attempts = 0
        while attempts < SWAP_ATTEMPTS:
            # What was committed since the snapshot goes into the same call that swaps:
            # with a call between them, traffic would get ahead again each time.
            run = await self._ledger.run_after(seq, CHANGES_PER_CALL, durable=True)
            if run.before != tip:
                # The ledger was replaced since the snapshot.
                break
            changes = run.changes
            last = changes[-1].seq if changes else seq
            lacking = [
                part
                for change in changes
                for part in (change.seq, *in_ranking(change), contract.change_identity(change))
            ]
            entries = (
                [] if keeps_stream else await entries_for_new_stream(self._ledger, board, last)
            )
            status, *rest = await self._swap_script(
                keys=(*KEYS, *built),
                args=[
                    board.incarnation,
                    epoch,
                    seq,
                    last,
                    count,
                    contract.STREAM_FIELD,
                    contract.BEFORE_FIELD,
                    tip,
                    len(lacking),
                    *lacking,
                    *entries,
                ],
            )
            if status == 1:
                await self._redis.unlink(*contract.OUTDATED_KEYS)
                return Swapped(*rest)
            if status in (_UNUSABLE, _FOREIGN):
                break
            seq, count = last, rest[1]
            tip = contract.change_identity(changes[-1]) if changes else tip
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
            fields = ["seq", "incarnation"]
            found: Any = await self._redis.hmget(contract.META_KEY, fields)
            raw, known = found
            cursor = contract.position_of(raw)
            if cursor is None or known != incarnation.encode():
                return False
            if cursor >= seq:
                return True
            status, *rest = await self._advance(await self._run_after(cursor, seq))
            nothing_follows = status == _BEHIND and rest[0] <= cursor
            if status in (_UNUSABLE, _FOREIGN) or nothing_follows:
                # Torn, or of another history: a repair finds out which.
                raise RebuildFailed


def _tell_of_failure(repairing: "asyncio.Task[None]") -> None:
    # Its waiters may be gone. The next repair starts within a second.
    if not repairing.cancelled() and (error := repairing.exception()) is not None:
        log.warning("rebuild_failed", error=reason_of(error))
