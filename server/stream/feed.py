"""Reads the changes of the board in order, without gap or repeat.

From the Redis stream; changes that the stream lacks (a trimmed entry, a Redis that is
unavailable or empty) come from the ledger. Not who receives them: see `hub`.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import structlog

from adapters.ledger_queries import BoardRow, Run
from adapters.mysql import MYSQL_ERRORS
from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS, Redis
from scoreboard import backoff, contract
from scoreboard.domain import Change
from server.backends.mysql import LedgerReader

log = structlog.get_logger()

BLOCK_MS = 1000
ENTRIES_PER_READ = 1000
READ_BEFORE_TICK_S = 0.005
"""How long before the sink's next flush the stream is read again: the changes of several
batches then take one read."""

CHECK_INTERVAL_S = 1.0
CHANGES_PER_QUERY = 1000
FILL_MAX = 20_000
"""A longer gap is not replayed: listeners get a snapshot instead."""


class Sink(Protocol):
    """Receives the changes; the hub."""

    def begin(self, cursor: int, history: Sequence[Change]) -> None:
        """The feed starts after `cursor`; `history` leads up to it."""

    def take(self, changes: Sequence[Change]) -> None:
        """The next changes."""

    def wait_s(self) -> float:
        """Seconds until the changes taken now will be flushed."""

    def restart(self, cursor: int, *, replaced: bool) -> None:
        """Earlier changes cannot be continued; the next change is `cursor` + 1.

        `replaced`: they belonged to another history, so everything read before is invalid.
        """


class Feed:
    """Follows the board from its current end."""

    def __init__(
        self, redis: Redis, ledger: LedgerReader, sink: Sink, *, history_changes: int
    ) -> None:
        self._redis = redis
        self._ledger = ledger
        self._sink = sink
        self._history_changes = history_changes
        self._cursor = -1
        self._incarnation = ""
        # The identity of the change at the cursor: what comes next must follow this one.
        self._tip = ""
        self._unavailable = False
        self._failures = 0
        self._name = secrets.token_hex(8)
        self._claimed = ""

    async def run(self) -> None:
        """Follow until cancelled; recovers by itself."""
        while True:
            try:
                if self._cursor < 0:
                    await self._begin()
                if self._cursor >= 0:
                    await self._follow()
            except REDIS_ERRORS as error:
                self._note_unavailable(error)
                await self._use_ledger()
            await asyncio.sleep(backoff.FEED.delay_s(self._failures))
            self._failures += 1

    def _note_unavailable(self, error: Exception) -> None:
        if not self._unavailable:
            log.warning("stream_out_of_reach", error=reason_of(error))
        self._unavailable = True

    def _note_reached(self) -> None:
        if self._unavailable:
            log.info("stream_reached", seq=self._cursor)
        self._unavailable = False
        self._failures = 0

    async def _begin(self) -> None:
        found = await self._meta()
        if found is None:
            # Redis is empty; fall back to MySQL until a worker repopulates it.
            await self._use_ledger()
            return
        history = await self._history(found.seq)
        # An earlier process may have shown what MySQL had while Redis was behind, so MySQL's
        # board, not the copy's, is where this process starts.
        try:
            board = await self._ledger.board()
            if board.incarnation == found.incarnation and board.seq > found.seq:
                if board.seq - found.seq > FILL_MAX:
                    await self._use_ledger()
                    return
                history += await self._changes(found.seq, board.seq)
        except MYSQL_ERRORS as error:
            self._note_unavailable(error)
            return
        if history:
            found = BoardRow(
                history[-1].seq, found.incarnation, tip=contract.change_identity(history[-1])
            )
        self._start(found, history)

    async def _changes(self, after: int, upto: int) -> list[Change]:
        """The ledger's changes after `after`, up to `upto`. Raises MYSQL_ERRORS."""
        found: list[Change] = []
        while after < upto:
            part = (
                await self._ledger.run_after(after, min(upto - after, CHANGES_PER_QUERY))
            ).changes
            if not part:
                break
            found += part
            after = part[-1].seq
        return found

    def _start(self, board: BoardRow, history: Sequence[Change]) -> None:
        self._stand_at(board)
        self._sink.begin(board.seq, history)
        log.info("feed_started", seq=board.seq, history=len(history))

    def _stand_at(self, board: BoardRow) -> None:
        self._cursor, self._incarnation, self._tip = board.seq, board.incarnation, board.tip

    async def _history(self, tail: int) -> list[Change]:
        """The latest changes still in the stream, up to `tail`."""
        newest_first: list[list[Change]] = []
        count, follows = 0, tail + 1
        upto = f"{tail}-0"
        while count < self._history_changes:
            entries: Any = await self._redis.xrevrange(
                contract.STREAM_KEY, max=upto, count=ENTRIES_PER_READ
            )
            for name, fields in entries:
                changes = _decode(name, fields).changes
                if not changes or changes[-1].seq + 1 != follows:
                    return _joined(newest_first)
                newest_first.append(list(changes))
                count += len(changes)
                follows = changes[0].seq
            if len(entries) < ENTRIES_PER_READ:
                break
            upto = f"({follows}-0"
        return _joined(newest_first)

    async def _follow(self) -> None:
        await self._check()
        checked_at = time.monotonic()
        while self._cursor >= 0:
            entries = await self._read(block=True)
            self._note_reached()
            before = self._cursor
            for run in entries:
                await self._deliver(run)
            if entries and self._cursor == before:
                # A gap that the ledger could not fill; the same entries will be read again.
                await asyncio.sleep(backoff.FEED.first_s)
            elif entries and (rest_s := self._sink.wait_s() - READ_BEFORE_TICK_S) > 0:
                await asyncio.sleep(rest_s)
            if not entries or time.monotonic() - checked_at > CHECK_INTERVAL_S:
                await self._check()
                checked_at = time.monotonic()

    async def _meta(self) -> BoardRow | None:
        """Where ranking and stream stand, and in which history, as Redis has them."""
        fields = ["seq", "incarnation", "tip"]
        found: Any = await self._redis.hmget(contract.META_KEY, fields)
        raw, incarnation, tip = found
        seq = contract.position_of(raw)
        if seq is None or incarnation is None:
            return None
        tip = contract.tip_at(raw, tip) or ""
        return BoardRow(seq, incarnation.decode(errors="replace"), tip=tip)

    async def _read(self, *, block: bool) -> list[Run]:
        answer: Any = await self._redis.xread(
            {contract.STREAM_KEY: f"{self._cursor}-0"},
            count=ENTRIES_PER_READ,
            block=BLOCK_MS if block else None,
        )
        return [_decode(name, fields) for _, entries in answer for name, fields in entries]

    async def _check(self) -> None:
        """Compare the cursor with Redis, which may have been emptied or replaced."""
        found = await self._meta()
        if found is None:
            await self._use_ledger()
        elif found.incarnation != self._incarnation and found.seq > self._cursor:
            log.warning("history_replaced", seq=found.seq)
            self._restart(found)
        elif found.incarnation != self._incarnation or found.seq < self._cursor:
            # A worker will bring Redis forward again; the ledger never goes back.
            await self._use_ledger()
        elif found.seq > self._cursor:
            if not await self._read_on():
                await self._fill()
        elif not self._follows(found.tip):
            await self._claim()

    async def _read_on(self) -> bool:
        """Whether the stream has further changes after all."""
        entries = await self._read(block=False)
        for run in entries:
            await self._deliver(run)
        return bool(entries)

    def _follows(self, before: str) -> bool:
        """Whether what comes after this identity continues what was delivered; unknown: yes."""
        return not before or not self._tip or before == self._tip

    async def _deliver(self, run: Run) -> None:
        """Take one entry; whatever it overlaps or skips, the sink gets every change once."""
        changes = run.changes
        if not changes or changes[0].seq > self._cursor + 1:
            # A history that begins jumps above all earlier numbers.
            found = await self._meta()
            if found is not None and found.incarnation != self._incarnation:
                log.warning("history_replaced", seq=found.seq)
                self._restart(found)
                return
            await self._fill(upto=changes[0].seq - 1 if changes else None)
        before, fresh = run.before, list(changes)
        while fresh and fresh[0].seq <= self._cursor:
            before = contract.change_identity(fresh.pop(0))
        if fresh and fresh[0].seq == self._cursor + 1:
            if self._follows(before):
                self._take(fresh)
            else:
                await self._claim()

    def _take(self, changes: Sequence[Change]) -> None:
        self._cursor = changes[-1].seq
        self._tip = contract.change_identity(changes[-1])
        self._sink.take(changes)

    async def _claim(self) -> None:
        """Tell the workers of a position that was shown here and is no change of this board.

        Only they can begin another history, under the board's lock.
        """
        claim = f"{self._incarnation} {self._cursor} {self._tip}"
        if claim != self._claimed:
            log.warning("position_is_foreign", seq=self._cursor, shown=self._tip)
        self._claimed = claim
        with suppress(*REDIS_ERRORS):
            await self._redis.hset(contract.CLAIMS_KEY, self._name, claim)

    async def _use_ledger(self) -> None:
        """Continue from MySQL, as far as it is available."""
        try:
            board = await self._ledger.board()
            if self._cursor < 0:
                after = max(board.starts_after, board.seq - CHANGES_PER_QUERY)
                history = await self._changes(after, board.seq)
                self._start(board, history)
            elif board.incarnation != self._incarnation:
                log.warning("history_replaced", seq=board.seq)
                self._restart(board)
            elif board.seq < self._cursor:
                # Set back, or an old copy of MySQL: only the board's lock tells which.
                await self._claim()
            else:
                await self._fill()
        except MYSQL_ERRORS as error:
            self._note_unavailable(error)

    async def _fill(self, upto: int | None = None) -> None:
        """Take missing changes from the ledger. A failure of MySQL is retried later."""
        filled = 0
        while upto is None or self._cursor < upto:
            try:
                # Not beyond `upto`: later changes are being committed and may not be durable.
                limit = CHANGES_PER_QUERY if upto is None else upto - self._cursor
                run = await self._ledger.run_after(self._cursor, min(limit, CHANGES_PER_QUERY))
                if filled + len(run.changes) > FILL_MAX:
                    self._restart(await self._ledger.board())
                    return
                if not self._follows(run.before):
                    # The numbers may have jumped: another history.
                    board = await self._ledger.board()
                    if board.incarnation != self._incarnation:
                        log.warning("history_replaced", seq=board.seq)
                        self._restart(board)
                    else:
                        await self._claim()
                    return
                if not run.changes or run.changes[0].seq != self._cursor + 1:
                    return
            except MYSQL_ERRORS as error:
                self._note_unavailable(error)
                return
            filled += len(run.changes)
            self._take(run.changes)

    def _restart(self, board: BoardRow) -> None:
        replaced = board.incarnation != self._incarnation or board.seq < self._cursor
        self._stand_at(board)
        self._sink.restart(board.seq, replaced=replaced)


def _joined(newest_first: Sequence[Sequence[Change]]) -> list[Change]:
    return [change for changes in reversed(newest_first) for change in changes]


def _decode(name: bytes, fields: dict[bytes, bytes]) -> Run:
    """The changes of an entry; none when it is malformed, so that the ledger is read."""
    try:
        changes = contract.decode_changes(fields[contract.STREAM_FIELD])
        before = fields.get(contract.BEFORE_FIELD, b"").decode()
    except (KeyError, ValueError):
        log.error("stream_entry_malformed")
        return Run("", ())
    if changes and name != b"%d-0" % changes[-1].seq:
        log.error("stream_entry_misplaced")
        return Run("", ())
    return Run(before, changes)
