"""The SSE hub: one broadcaster that writes every change to every listener, in order.

Changes that arrive within a tick are encoded once, framed once and written as
the same bytes to each listener. A listener has a cursor; it is written to only
what follows its cursor, so there can be no gap and no repeat. One that reads too
slowly is skipped, continued from the ring when it has drained, and told
explicitly (`event: reset`) when the ring no longer reaches back to it.

Not where changes come from: see `feed`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from scoreboard import sse
from scoreboard.domain import Change
from scoreboard.errors import OVERLOADED, UNAVAILABLE, Problem
from server.counts import HubCounts
from server.listener import Listener
from server.ring import Ring, frame
from server.tick import tick_s

log = structlog.get_logger()

LISTENERS_PER_SLICE = 500
"""Written to before other work gets a turn: 3 to 5 milliseconds."""

CHANGES_PER_SEGMENT = 500
RING_MAX_BYTES = 16 * 1024 * 1024
SWEEP_INTERVAL_S = 1.0
RESET_RETRY_S = 1.0
RETRY_AFTER_S = 2

NEEDS_RESET = -1
"""Cursor of a listener that nothing can be written to but a snapshot."""

_HEARTBEAT_FRAME = frame(sse.HEARTBEAT)


class Hub:
    """All event streams of this process."""

    def __init__(
        self,
        snapshot: Callable[[int], Awaitable[sse.Snapshot]],
        *,
        listeners_max: int,
        history_changes: int,
        tick_max_s: float,
        heartbeat_s: float,
        lagging_max_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._snapshot = snapshot
        self._listeners_max = listeners_max
        self._tick_max_s = tick_max_s
        self._heartbeat_s = heartbeat_s
        self._lagging_max_s = lagging_max_s
        self._clock = clock
        self._ring = Ring(0, max_changes=history_changes, max_bytes=RING_MAX_BYTES)
        self._history = 0
        self._started = False
        self._closing = False
        self._pending: list[Change] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._reset_due = asyncio.Event()
        self._last_write_at = clock()
        self._not_before = clock()
        # A dict keeps the order of arrival, so each tick reaches listeners in the same order.
        self._listeners: dict[Listener, None] = {}
        self._lagging: dict[Listener, float] = {}
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.counts = HubCounts()
        self.on_written: Callable[[int, int, float, int], None] | None = None
        """Told after each write to all: first and last seq, Unix time it began, listeners."""

    @property
    def cursor(self) -> int:
        """The last sequence number that listeners have been told."""
        return self._ring.end

    @property
    def started(self) -> bool:
        """Whether the hub knows where the board stands."""
        return self._started

    def __len__(self) -> int:
        return len(self._listeners)

    @property
    def lagging(self) -> int:
        """Listeners whose buffers are full."""
        return len(self._lagging)

    # What the feed calls.

    def begin(self, cursor: int, history: Sequence[Change]) -> None:
        """Start after `cursor`; `history` is what listeners that come back may have missed."""
        self._ring.clear(cursor - len(history))
        for segment in _segments(history):
            self._ring.append(segment)
        self._started = True

    def take(self, changes: Sequence[Change]) -> None:
        """Broadcast the next changes with the next tick."""
        self._pending.extend(changes)
        self._idle.clear()
        self._wake.set()

    def wait_s(self) -> float:
        """How long it will be before the next tick may begin."""
        return max(0.0, self._not_before - self._clock())

    def restart(self, cursor: int) -> None:
        """Go on after `cursor` in another history: every listener gets a reset."""
        self._history += 1
        self._pending.clear()
        self._ring.clear(cursor)
        for listener in self._listeners:
            listener.cursor = NEEDS_RESET
        self._reset_due.set()

    # What a request calls.

    async def opening(self, last_event_id: int | None, *, snapshot: bool) -> tuple[bytes, int]:
        """First bytes of a stream and the cursor they lead to; then `attach` at once.

        Raises Problem when there is no room, or nothing to start from.
        """
        if self._closing or not self._started:
            raise Problem(UNAVAILABLE, "The event stream is not up.", retry_after_s=RETRY_AFTER_S)
        if len(self._listeners) >= self._listeners_max:
            raise Problem(OVERLOADED, "Too many event streams.", retry_after_s=RETRY_AFTER_S)
        if last_event_id is None:
            if not snapshot:
                return sse.encode_hello(self.cursor), self.cursor
            return await self._opening_with(sse.SNAPSHOT)
        if self._ring.covers(last_event_id):
            return sse.encode_hello(last_event_id), last_event_id
        if last_event_id > self.cursor:
            # Another process may be a moment ahead of this one; only a number that
            # the board has not reached lies in the future.
            known = await self._snapshot(last_event_id)
            if self._ring.start <= last_event_id <= known.seq:
                return sse.encode_hello(last_event_id), last_event_id
        return await self._opening_with(sse.RESET)

    async def _opening_with(self, event: str) -> tuple[bytes, int]:
        state = await self._joinable_snapshot()
        return sse.encode_hello(state.seq) + sse.encode_snapshot(event, state), state.seq

    async def _joinable_snapshot(self) -> sse.Snapshot:
        """A snapshot that the ring continues, now or when it gets there."""
        for _ in range(3):
            state = await self._snapshot(self.cursor)
            if state.seq >= self._ring.start:
                return state
        raise Problem(UNAVAILABLE, "The board cannot be read now.", retry_after_s=RETRY_AFTER_S)

    def attach(
        self, transport: asyncio.Transport, head: bytes, opening: bytes, cursor: int
    ) -> Listener:
        """Make a transport a listener: write `head` and what `opening` gave, then all after it."""
        listener = Listener(self, transport, cursor)
        self._listeners[listener] = None
        self.counts.listeners_opened += 1
        self._emptied.clear()
        listener.take_over()
        listener.write(head + frame(opening))
        if listener.ready:
            self._continue(listener)
        return listener

    # What a listener calls.

    def paused(self, listener: Listener) -> None:
        """Its buffer is full: skip it until it has drained."""
        self._lagging[listener] = self._clock()

    def resumed(self, listener: Listener) -> None:
        """Its buffer has drained: continue it."""
        self._lagging.pop(listener, None)
        self._continue(listener)

    def closed(self, listener: Listener) -> None:
        """Its connection is gone."""
        self._listeners.pop(listener, None)
        self._lagging.pop(listener, None)
        if not self._listeners:
            self._emptied.set()

    def _continue(self, listener: Listener) -> None:
        """Write what follows the listener's cursor, for as long as it takes it."""
        cursor = listener.cursor
        if cursor >= self._ring.end:
            return
        if cursor < self._ring.start:
            listener.cursor = NEEDS_RESET
            self._reset_due.set()
            return
        counts = self.counts
        for chunk, reached in self._ring.after(cursor):
            counts.deliveries += reached - listener.cursor
            counts.bytes += len(chunk)
            listener.cursor = reached
            listener.write(chunk)
            if not listener.ready:
                return

    # What runs.

    async def run(self) -> None:
        """Broadcast, send heartbeats and resets, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._broadcast())
            tasks.create_task(self._sweep())
            tasks.create_task(self._reset())

    async def drain(self, timeout_s: float) -> None:
        """Refuse new streams, deliver what is pending and end all streams cleanly.

        A listener that has not taken its rest within `timeout_s` is cut off.
        """
        self._closing = True
        deadline = self._clock() + timeout_s
        try:
            async with asyncio.timeout(timeout_s / 2):
                await self._idle.wait()
        except TimeoutError:
            log.warning("drain_left_changes", pending=len(self._pending))
        for listener in list(self._listeners):
            listener.finish()
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock())):
                await self._emptied.wait()
        except TimeoutError:
            log.warning("drain_cut_listeners", listeners=len(self._listeners))
        for listener in list(self._listeners):
            listener.abort()

    async def _broadcast(self) -> None:
        while True:
            await self._wake.wait()
            left_s = self._not_before - self._clock()
            if left_s > 0:
                await asyncio.sleep(left_s)
            self._wake.clear()
            changes, self._pending = self._pending, []
            began = self._last_write_at = self._clock()
            for part in _segments(changes):
                # A restart in between has made the rest part of the past.
                if part[0].seq == self._ring.end + 1:
                    await self._write_to_all(part)
            took_s = self._clock() - began
            self._not_before = began + tick_s(len(self._listeners), self._tick_max_s, took_s)
            if not self._pending:
                self._idle.set()

    async def _write_to_all(self, changes: Sequence[Change]) -> None:
        before, history = self._ring.end, self._history
        segment = self._ring.append(changes)
        chunk, last = segment.frame, segment.last
        counts, written = self.counts, 0
        counts.ticks += 1
        now = time.time()
        counts.commit_to_write_s.observe(max(0.0, now - changes[0].committed_us / 1e6))
        for count, listener in enumerate(list(self._listeners), start=1):
            if listener.ready:
                if listener.cursor == before:
                    # First the cursor: `write` may call `pause_writing`, which looks at it.
                    listener.cursor = last
                    listener.write(chunk)
                    written += 1
                elif listener.cursor != NEEDS_RESET and listener.cursor < last:
                    # One that was ahead of this process, and has now been reached.
                    self._continue(listener)
            if not count % LISTENERS_PER_SLICE:
                await asyncio.sleep(0)
                if self._history != history:
                    break
        counts.deliveries += written * len(changes)
        counts.bytes += written * len(chunk)
        if self.on_written is not None:
            self.on_written(changes[0].seq, last, now, written)

    async def _sweep(self) -> None:
        interval_s = min(SWEEP_INTERVAL_S, self._heartbeat_s / 4)
        while True:
            await asyncio.sleep(interval_s)
            now = self._clock()
            for listener, since in list(self._lagging.items()):
                if now - since > self._lagging_max_s:
                    # It comes back with its last event id, and then gets all it missed.
                    self.counts.listeners_cut += 1
                    listener.abort()
            if now - self._last_write_at >= self._heartbeat_s - interval_s:
                self._last_write_at = now
                await self._beat()

    async def _beat(self) -> None:
        for count, listener in enumerate(list(self._listeners), start=1):
            if listener.ready:
                listener.write(_HEARTBEAT_FRAME)
            if not count % LISTENERS_PER_SLICE:
                await asyncio.sleep(0)

    async def _reset(self) -> None:
        while True:
            await self._reset_due.wait()
            self._reset_due.clear()
            try:
                state = await self._joinable_snapshot()
            except Problem:
                await asyncio.sleep(RESET_RETRY_S)
                self._reset_due.set()
                continue
            chunk = frame(sse.encode_snapshot(sse.RESET, state))
            for listener in list(self._listeners):
                if listener.cursor == NEEDS_RESET and listener.ready:
                    listener.cursor = state.seq
                    self.counts.resets += 1
                    self.counts.bytes += len(chunk)
                    listener.write(chunk)
                    if listener.ready:
                        self._continue(listener)


def _segments(changes: Sequence[Change]) -> list[Sequence[Change]]:
    return [
        changes[start : start + CHANGES_PER_SEGMENT]
        for start in range(0, len(changes), CHANGES_PER_SEGMENT)
    ]
