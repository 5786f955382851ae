"""Reads the changes of the board in order, without gap or repeat.

From the Redis stream; changes that the stream lacks (a trimmed entry, a Redis that is
unavailable or empty) come from the ledger. Not who receives them: see `hub`.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

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
        self._unavailable = False
        self._failures = 0

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
        tail, incarnation = await self._meta()
        if tail is None or incarnation is None:
            # Redis is empty; fall back to MySQL until a worker repopulates it.
            await self._use_ledger()
            return
        history = await self._history(tail)
        # An earlier process may have shown what MySQL had while Redis was behind, so MySQL's
        # board, not the copy's, is where this process starts.
        try:
            board = await self._ledger.board()
            if board.incarnation == incarnation and board.seq > tail:
                if board.seq - tail > FILL_MAX:
                    await self._use_ledger()
                    return
                history += await self._changes(tail, board.seq)
        except MYSQL_ERRORS as error:
            self._note_unavailable(error)
            return
        self._start(history[-1].seq if history else tail, incarnation, history)

    async def _changes(self, after: int, upto: int) -> list[Change]:
        """The ledger's changes after `after`, up to `upto`. Raises MYSQL_ERRORS."""
        found: list[Change] = []
        while after < upto:
            part = await self._ledger.changes_after(after, min(upto - after, CHANGES_PER_QUERY))
            if not part:
                break
            found += part
            after = part[-1].seq
        return found

    def _start(self, cursor: int, incarnation: str, history: Sequence[Change]) -> None:
        self._cursor, self._incarnation = cursor, incarnation
        self._sink.begin(cursor, history)
        log.info("feed_started", seq=cursor, history=len(history))

    async def _history(self, tail: int) -> list[Change]:
        """The latest changes still in the stream, up to `tail`."""
        newest_first: list[list[Change]] = []
        count, follows = 0, tail + 1
        upto = f"{tail}-0"
        while count < self._history_changes:
            entries: Any = await self._redis.xrevrange(
                contract.STREAM_KEY, max=upto, count=ENTRIES_PER_READ
            )
            for _, fields in entries:
                changes = _decode(fields)
                if not changes or changes[-1].seq + 1 != follows:
                    return _joined(newest_first)
                newest_first.append(changes)
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
            for changes in entries:
                await self._deliver(changes)
            if entries and self._cursor == before:
                # A gap that the ledger could not fill; the same entries will be read again.
                await asyncio.sleep(backoff.FEED.first_s)
            elif entries and (rest_s := self._sink.wait_s() - READ_BEFORE_TICK_S) > 0:
                await asyncio.sleep(rest_s)
            if not entries or time.monotonic() - checked_at > CHECK_INTERVAL_S:
                await self._check()
                checked_at = time.monotonic()

    async def _meta(self) -> tuple[int | None, str | None]:
        """The cursor of ranking and stream, and their history's name, as Redis has them."""
        found: Any = await self._redis.hmget(contract.META_KEY, ["seq", "incarnation"])
        tail, incarnation = found
        return (
            None if tail is None else int(tail),
            None if incarnation is None else incarnation.decode(),
        )

    async def _read(self, *, block: bool) -> list[list[Change]]:
        answer: Any = await self._redis.xread(
            {contract.STREAM_KEY: f"{self._cursor}-0"},
            count=ENTRIES_PER_READ,
            block=BLOCK_MS if block else None,
        )
        return [_decode(fields) for _, entries in answer for _, fields in entries]

    async def _check(self) -> None:
        """Compare the cursor with Redis, which may have been emptied or replaced."""
        tail, incarnation = await self._meta()
        if tail is None or incarnation is None:
            await self._use_ledger()
        elif incarnation != self._incarnation:
            log.warning("history_replaced", seq=tail)
            self._restart(tail, incarnation)
        elif tail < self._cursor:
            # A worker will bring Redis forward again; the ledger never goes back.
            await self._use_ledger()
        elif tail > self._cursor and not await self._read_on():
            await self._fill()

    async def _read_on(self) -> bool:
        """Whether the stream has further changes after all."""
        entries = await self._read(block=False)
        for changes in entries:
            await self._deliver(changes)
        return bool(entries)

    async def _deliver(self, changes: Sequence[Change]) -> None:
        """Take one entry; whatever it overlaps or skips, the sink gets every change once."""
        if not changes or changes[0].seq > self._cursor + 1:
            await self._fill(upto=changes[0].seq - 1 if changes else None)
        fresh = [change for change in changes if change.seq > self._cursor]
        if fresh and fresh[0].seq == self._cursor + 1:
            self._cursor = fresh[-1].seq
            self._sink.take(fresh)

    async def _use_ledger(self) -> None:
        """Continue from MySQL, as far as it is available."""
        try:
            board = await self._ledger.board()
            if self._cursor < 0:
                changes = await self._ledger.changes_after(
                    max(0, board.seq - CHANGES_PER_QUERY), CHANGES_PER_QUERY
                )
                history = [change for change in changes if change.seq <= board.seq]
                self._start(board.seq, board.incarnation, history)
            elif board.incarnation != self._incarnation or board.seq < self._cursor:
                log.warning("history_replaced", seq=board.seq)
                self._restart(board.seq, board.incarnation)
            else:
                await self._fill()
        except MYSQL_ERRORS as error:
            self._note_unavailable(error)

    async def _fill(self, upto: int | None = None) -> None:
        """Take missing changes from the ledger. Raises nothing; a failure is retried later."""
        filled = 0
        while upto is None or self._cursor < upto:
            try:
                # Not beyond `upto`: later changes are being committed and may not be durable.
                limit = CHANGES_PER_QUERY if upto is None else upto - self._cursor
                changes = await self._ledger.changes_after(
                    self._cursor, min(limit, CHANGES_PER_QUERY)
                )
                if filled + len(changes) > FILL_MAX:
                    board = await self._ledger.board()
                    self._restart(board.seq, board.incarnation)
                    return
            except MYSQL_ERRORS as error:
                self._note_unavailable(error)
                return
            if not changes:
                return
            filled += len(changes)
            assert changes[0].seq == self._cursor + 1, "the ledger has a gap"
            self._cursor = changes[-1].seq
            self._sink.take(changes)

    def _restart(self, cursor: int, incarnation: str) -> None:
        replaced = incarnation != self._incarnation or cursor < self._cursor
        self._cursor, self._incarnation = cursor, incarnation
        self._sink.restart(cursor, replaced=replaced)


def _joined(newest_first: Sequence[Sequence[Change]]) -> list[Change]:
    return [change for changes in reversed(newest_first) for change in changes]


def _decode(fields: dict[bytes, bytes]) -> list[Change]:
    """The changes of an entry; none when it is malformed, so that the ledger is read."""
    try:
        return contract.decode_changes(fields[contract.STREAM_FIELD])
    except (KeyError, ValueError):
        log.error("stream_entry_malformed")
        return []
