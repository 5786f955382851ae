"""The SSE hub: one broadcaster that writes every change to every listener, in order.

Changes within a flush interval are encoded once, compressed and framed once for a group
of listeners, and written as the same bytes to each. Groups take turns: see `groups`. A
listener is only sent changes after its cursor, so there is no gap and no repeat. A slow
listener is skipped, continued from the ring buffer once it has drained, and told
explicitly (`event: reset`) when the ring no longer reaches back to its cursor.

Not where changes come from: see `feed`.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from adapters.tasks import together
from scoreboard import backoff, sse
from scoreboard.domain import Change
from scoreboard.errors import OVERLOADED, UNAVAILABLE, Problem
from server.board.position import BoardPosition
from server.observe.counts import HubCounts
from server.stream.groups import Group, Groups
from server.stream.listener import Listener, Shared
from server.stream.ring import Ring
from server.stream.slices import LISTENERS_PER_LOOK, Slices

log = structlog.get_logger()
T = TypeVar("T")

CHANGES_PER_SEGMENT = 500
RING_MAX_BYTES = 16 * 1024 * 1024
SWEEP_INTERVAL_S = 1.0
RETRY_AFTER_S = 2

NEEDS_RESET = -1
"""Cursor of a listener that can only continue with a snapshot."""


OnWritten = Callable[[int, int, float, int], None]
"""Called after the last group is written: first and last seq, Unix time it began, listeners."""


class Hub:
    """All event streams of this process."""

    def __init__(
        self,
        snapshot: Callable[[int], Awaitable[sse.Snapshot]],
        *,
        position: BoardPosition,
        on_written: OnWritten | None = None,
        listeners_max: int,
        history_changes: int,
        tick_max_s: float,
        heartbeat_s: float,
        lagging_max_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._snapshot = snapshot
        self._on_written = on_written
        self._position = position
        self._listeners_max = listeners_max
        self._tick_max_s = tick_max_s
        self._heartbeat_s = heartbeat_s
        self._lagging_max_s = lagging_max_s
        self._clock = clock
        self._ring = Ring(0, max_changes=history_changes, max_bytes=RING_MAX_BYTES)
        # How far the ring may run ahead of the slowest group.
        self._spread_max = max(history_changes // 2, 1)
        self._closing = False
        self._pending: list[Change] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._reset_due = asyncio.Event()
        self._last_write_at = clock()
        self._groups = Groups(self._last_write_at)
        self._listeners: dict[Listener, Group] = {}
        # For `on_written`: the last change, and the time of the first write, of each append that
        # has not reached every group.
        self._spreading: deque[tuple[int, float]] = deque()
        self._reported = 0
        # Counted, since writing to a group may find itself in another history.
        self._restarts = 0
        self._lagging: dict[Listener, float] = {}
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.counts = HubCounts()

    @property
    def cursor(self) -> int:
        """The last sequence number that a listener has been sent."""
        return self._ring.end

    def __len__(self) -> int:
        return len(self._listeners)

    @property
    def lagging(self) -> int:
        """Listeners whose buffers are full."""
        return len(self._lagging)

    # Feed API

    def begin(self, cursor: int, history: Sequence[Change]) -> None:
        """Start after `cursor`; `history`: what returning listeners may have missed."""
        self._ring.clear(cursor - len(history))
        for segment in _segments(history):
            self._ring.append(segment)
        self._stand_at(cursor)
        self._position.known = True

    def take(self, changes: Sequence[Change]) -> None:
        """Broadcast the next changes with the next flush."""
        self._pending.extend(changes)
        self._idle.clear()
        self._wake.set()

    def wait_s(self) -> float:
        """Seconds until a group may be written to."""
        return self._groups.wait_s(self._clock())

    def restart(self, cursor: int, *, replaced: bool) -> None:
        """Continue after `cursor` without the changes in between: every listener gets a reset.

        `replaced`: in another history, so that earlier snapshots are invalid.
        """
        if replaced:
            self._position.history += 1
        self._restarts += 1
        self._pending.clear()
        self._ring.clear(cursor)
        self._stand_at(cursor)
        for listener in self._listeners:
            listener.cursor = NEEDS_RESET
        self._reset_due.set()

    def _stand_at(self, cursor: int) -> None:
        self._position.seq = cursor
        self._reported = cursor
        self._spreading.clear()
        self._groups.move_to(cursor)

    # Request API

    async def opening(self, last_event_id: int | None, *, snapshot: bool) -> tuple[bytes, int]:
        """First bytes of a stream and the cursor they lead to; call `attach` at once.

        Raises Problem when the hub is full, or cannot start a stream.
        """
        self._require_room()
        found = await self._opening(last_event_id, snapshot=snapshot)
        # A snapshot can outlast a drain, which would never end a stream attached after it.
        self._require_room()
        return found

    def _require_room(self) -> None:
        if self._closing or not self._position.known:
            raise Problem(UNAVAILABLE, "The event stream is not up.", retry_after_s=RETRY_AFTER_S)
        if len(self._listeners) >= self._listeners_max:
            raise Problem(OVERLOADED, "Too many event streams.", retry_after_s=RETRY_AFTER_S)

    async def _opening(self, last_event_id: int | None, *, snapshot: bool) -> tuple[bytes, int]:
        if last_event_id is None:
            if not snapshot:
                return _hello(self.cursor), self.cursor
            return await self._opening_with(sse.SNAPSHOT)
        if self._ring.covers(last_event_id):
            return _hello(last_event_id), last_event_id
        if last_event_id > self.cursor:
            # Another process may be slightly ahead of this one; only an id that the board
            # has not reached lies in the future.
            history = self._position.history
            known = await self._snapshot(last_event_id)
            if history == self._position.history and self._ring.start <= last_event_id <= known.seq:
                return _hello(last_event_id), last_event_id
        return await self._opening_with(sse.RESET)

    async def _opening_with(self, event: str) -> tuple[bytes, int]:
        state = await self._joinable_snapshot()
        return _hello(state.seq) + sse.encode_snapshot(event, state), state.seq

    async def _joinable_snapshot(self) -> sse.Snapshot:
        """A snapshot that the ring continues, now or once it catches up."""
        for _ in range(3):
            history = self._position.history
            state = await self._snapshot(self.cursor)
            if history == self._position.history and state.seq >= self._ring.start:
                return state
        raise Problem(UNAVAILABLE, "The board cannot be read now.", retry_after_s=RETRY_AFTER_S)

    def attach(
        self,
        transport: asyncio.Transport,
        head: bytes,
        opening: bytes,
        cursor: int,
        *,
        gzip: bool = False,
        chunked: bool = True,
    ) -> Listener:
        """Make a transport a listener: write `head` and the result of `opening`, then every change.

        `gzip`: the body is one gzip file; `chunked`: it has HTTP/1.1's framing, without which it
        ends with the connection. `head` must declare both.
        """
        listener = Listener(self, transport, cursor, gzip=gzip, chunked=chunked)
        self._listeners[listener] = self._groups.add(listener, self._ring.end)
        self.counts.listeners_opened += 1
        self._emptied.clear()
        listener.take_over()
        listener.open(head, opening)
        if listener.ready:
            self._continue(listener)
        return listener

    # Listener callbacks

    def paused(self, listener: Listener) -> None:
        """The listener's buffer is full: skip it until it has drained."""
        self._lagging[listener] = self._clock()

    def resumed(self, listener: Listener) -> None:
        """The listener's buffer has drained: continue it."""
        self._lagging.pop(listener, None)
        self._continue(listener)

    def closed(self, listener: Listener) -> None:
        """The listener's connection is gone."""
        group = self._listeners.pop(listener, None)
        if group is not None and self._groups.remove(listener, group):
            # The other groups may be waiting for its turn.
            self._wake.set()
        self._lagging.pop(listener, None)
        if not self._listeners:
            self._emptied.set()

    def _continue(self, listener: Listener) -> None:
        """Write the changes after the listener's cursor, as long as it accepts them."""
        cursor = listener.cursor
        if cursor >= self._ring.end:
            return
        if cursor < self._ring.start:
            listener.cursor = NEEDS_RESET
            self._reset_due.set()
            return
        counts = self.counts
        for events, reached in self._ring.after(cursor):
            counts.deliveries += reached - listener.cursor
            listener.cursor = reached
            counts.bytes += listener.send(events)
            if not listener.ready:
                return

    # Background tasks

    async def run(self) -> None:
        """Broadcast, send heartbeats and resets, until cancelled."""
        await together(self._broadcast(), self._sweep(), self._reset())

    async def drain(self, timeout_s: float) -> None:
        """Refuse new streams, deliver pending changes and end all streams cleanly.

        A listener that has not read everything within `timeout_s` is disconnected.
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
        loop = asyncio.get_running_loop()
        alarm: asyncio.TimerHandle | None = None
        while True:
            await self._wake.wait()
            self._wake.clear()
            if alarm is not None:
                alarm.cancel()
            # With something to append, every group has something to write.
            ahead = 1 if self._pending and self._has_room() else 0
            group = self._groups.next(self._ring.end + ahead)
            if group is None:
                self._append_pending()
                self._report_written()
                self._idle.set()
                continue
            left_s = group.not_before - self._clock()
            if left_s > 0:
                alarm = loop.call_later(left_s, self._wake.set)
                continue
            self._append_pending()
            await self._write_to(group)
            self._report_written()
            # Let other work run, then the next group.
            self._wake.set()
            await asyncio.sleep(0)

    def _has_room(self) -> bool:
        return self._ring.end - self._groups.slowest(self._ring.end) < self._spread_max

    def _append_pending(self) -> None:
        """Move pending changes into the ring, as far as the slowest group allows."""
        taken = 0
        while taken < len(self._pending) and self._has_room():
            segment = self._pending[taken : taken + CHANGES_PER_SEGMENT]
            self._ring.append(segment, keep_after=self._groups.slowest(self._ring.end))
            taken += len(segment)
        if taken:
            del self._pending[:taken]
            self._position.seq = self._ring.end
            if self._on_written is not None:
                self._spreading.append((self._ring.end, time.time()))

    async def _write_to(self, group: Group) -> None:
        """Write to a group the changes after its cursor, and schedule its next turn."""
        began = self._last_write_at = self._clock()
        counts, restarts = self.counts, self._restarts
        counts.ticks += 1
        oldest = self._ring.first_after(group.cursor)
        counts.commit_to_write_s.observe(max(0.0, time.time() - oldest.committed_us / 1e6))
        slices = Slices(self._clock)
        for events, reached in self._ring.after(group.cursor):
            shared = Shared(events, group.check)
            before = group.cursor
            group.cursor = reached
            for some in _parts(list(group.listeners), LISTENERS_PER_LOOK):
                if slices.over:
                    await slices.give_way()
                    if restarts != self._restarts:
                        # Who is reset in between may stand where this write began.
                        return
                self._share(shared, some, before, reached)
        self._groups.written(
            group,
            began=began,
            took_s=slices.took_s,
            listeners=len(self._listeners),
            usual_max_s=self._tick_max_s,
        )

    def _share(self, shared: Shared, some: Sequence[Listener], before: int, reached: int) -> None:
        """Take those of a group that are at `before` to `reached`."""
        counts, written = self.counts, 0
        for listener in some:
            # Not those that a look in between has continued, reset or lost.
            if listener.ready:
                if listener.cursor == before:
                    # The cursor first: sharing may call `pause_writing`, which reads it.
                    listener.cursor = reached
                    counts.bytes += listener.share(shared)
                    written += 1
                elif listener.cursor != NEEDS_RESET and listener.cursor < reached:
                    # A listener that was ahead of this process, now reached.
                    self._continue(listener)
        counts.deliveries += written * (reached - before)

    def _report_written(self) -> None:
        """Tell `on_written` what has reached the last group."""
        reached = self._groups.slowest(self._ring.end)
        while self._spreading and self._spreading[0][0] <= reached:
            last, began = self._spreading.popleft()
            if self._on_written is not None:
                self._on_written(self._reported + 1, last, began, len(self._listeners))
            self._reported = last

    async def _sweep(self) -> None:
        interval_s = min(SWEEP_INTERVAL_S, self._heartbeat_s / 4)
        while True:
            await asyncio.sleep(interval_s)
            now = self._clock()
            for listener, since in list(self._lagging.items()):
                if now - since > self._lagging_max_s:
                    # It will reconnect with Last-Event-ID and catch up.
                    self.counts.slow_listeners_disconnected += 1
                    listener.abort()
            if now - self._last_write_at >= self._heartbeat_s - interval_s:
                self._last_write_at = now
                await self._beat()

    async def _beat(self) -> None:
        slices = Slices(self._clock)
        for some in _parts(list(self._listeners), LISTENERS_PER_LOOK):
            if slices.over:
                await slices.give_way()
            for listener in some:
                if listener.ready:
                    listener.send(sse.HEARTBEAT)

    async def _reset(self) -> None:
        while True:
            await self._reset_due.wait()
            self._reset_due.clear()
            try:
                state = await self._joinable_snapshot()
            except Problem:
                await asyncio.sleep(backoff.RESET_SNAPSHOT.first_s)
                self._reset_due.set()
                continue
            event, restarts = sse.encode_snapshot(sse.RESET, state), self._restarts
            slices = Slices(self._clock)
            for some in _parts(list(self._listeners), LISTENERS_PER_LOOK):
                if slices.over:
                    await slices.give_way()
                    if restarts != self._restarts:
                        # Which has asked for another reset.
                        break
                for listener in some:
                    if listener.cursor == NEEDS_RESET and listener.ready:
                        self._start_over(listener, state.seq, event)

    def _start_over(self, listener: Listener, seq: int, event: bytes) -> None:
        """Send a snapshot that leads to `seq`, and what follows it."""
        listener.cursor = seq
        self.counts.resets += 1
        self.counts.bytes += listener.send(event)
        if listener.ready:
            self._continue(listener)


def _segments(changes: Sequence[Change]) -> list[Sequence[Change]]:
    return _parts(changes, CHANGES_PER_SEGMENT)


def _parts(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _hello(cursor: int) -> bytes:
    return sse.encode_hello(cursor, sse.RETRY_MS + random.randrange(sse.RETRY_SPREAD_MS))
