"""Thousands of SSE listeners in one process, every id accounted for. Not an SSE library.

This module is the connections: when to open, read, leave and come back. What each listener was
delivered is `harness.engines.deliveries`, the figures are `harness.engines.span_figures`.
Listeners that receive equal bytes share one `Span`, so at a thousand changes a second the
scanning happens once, not a thousand times; what each listener adds is a comparison, a cursor
and two times.

The engine never blocks. An outer loop waits for `fileno()` and calls `pump()`.
"""

import socket
import struct
import time
from array import array
from collections import Counter

from harness.capabilities import StreamGzip
from harness.engines.by_content.deliveries import accounts_of
from harness.engines.churn import Comings, Recovery
from harness.engines.event_signs import EventSigns
from harness.engines.listener_stats import ListenerTotals, Records
from harness.engines.span_figures import NS, SPANS_KEPT, Read, SpanFigures
from harness.engines.swarm_settings import SwarmSettings
from harness.measure.series import Second, Series
from harness.net.http_wire import after_interim
from harness.net.readiness import EPOLLIN, EPOLLOUT, Readiness
from harness.net.sockets import Dialer
from harness.net.sse_parser import Span
from harness.net.stream_framing import Framer, head_of
from harness.net.tls import AnySocket, Handshakes
from scoreboard.gzipped import HasHistory

IDLE, CONNECTING, HEAD, STREAMING, WAITING = range(5)
RECEIVE_BYTES = 64 * 1024
_ANCILLARY_BYTES = 64
_TIMESPEC = struct.Struct("qq")
HANDSHAKES_AT_ONCE = 256
HANDSHAKE_TIMEOUT_NS = 15 * NS
CONNECT_TICK_NS = 5_000_000
"""While listeners are still to be opened: 25 at a time at the default rate, not a burst."""
LEFT, CUT, STOPPED = "left to come back", "cut by us", "stopped"
OURS = (LEFT, CUT)
"""Causes that are no fault of the server."""


class Swarm:
    """The engine. `series` gets the figures, `account()` the sworn statement.

    Counters: connected (a gauge, once a second), reads, bytes, deliveries, connects, disconnects,
    cpu_us (of the whole process), and `Recovery`'s. Histograms in µs: connect (first SYN to first
    block), lag (commit to the kernel of each listener, one entry per event and listener),
    reach_first, reach_median, reach_last (one entry per event, of the listeners that had it within
    SETTLE_AFTER_NS; the table knows the later ones), notice (kernel to this process: the harness's
    own delay), reconnect and catch_up (after a storm).
    """

    def __init__(self, settings: SwarmSettings, *, series: Series | None = None) -> None:
        self._settings = settings
        self.series = series or Series()
        self._ready = Readiness()
        count = settings.listeners
        self.deliveries = accounts_of(settings, on_fault=self._on_fault)
        self.table = self.deliveries.table
        self._figures = SpanFigures(
            self.series,
            self.table,
            start_unix_ns=settings.start_unix_ns,
            reading=settings.reading,
            by_content=not settings.capabilities.follows_ids,
        )
        ordinary_gzip = settings.capabilities.stream_gzip is StreamGzip.ORDINARY
        self._by_content = not settings.capabilities.follows_ids
        self._own_gzip = self._by_content or ordinary_gzip
        self._late_head = settings.capabilities.early_head is False
        self.signs = EventSigns()
        self._state = bytearray(count)
        self._coding = bytearray(count)
        self._opened_ns = array("q", bytes(8 * count))
        self._heard_unix_ns = array("q", bytes(8 * count))
        self._sockets: list[AnySocket | None] = [None] * count
        self._by_fd: dict[int, int] = {}
        self._framers: dict[int, Framer] = {}
        self._heads: dict[int, bytes] = {}
        self._comings = Comings(settings.churn, seed=settings.seed)
        self._recovery = Recovery(self._second_now)
        self._next_listener = 0
        self._handshakes = 0
        self._handshake = Handshakes(self._ready)
        self._started_ns = time.monotonic_ns()
        self._cpu_us = time.process_time_ns() // 1000
        self._next_second_ns = 0
        self._read_count = 0
        self._byte_count = 0
        self._stopping = False
        self.streaming = 0
        self._disconnects: Counter[str] = Counter()
        self._dialer = Dialer(settings.address, kernel_stamps=settings.kernel_stamps)

    def fileno(self) -> int:
        """Readable when `pump` has something to do."""
        return self._ready.fileno()

    @property
    def converging_to(self) -> int:
        """The least cursor of all listeners, -1 while one has none."""
        return min(self.deliveries.cursor, default=-1)

    def pump(self) -> None:
        """Do all that can be done now without waiting."""
        by_fd, state, sockets = self._by_fd, self._state, self._sockets
        reads, framers, coding = self._figures.reads, self._framers, self._coding
        deliveries, heard = self.deliveries, self._heard_unix_ns
        cursor, irregular = deliveries.cursor, deliveries.irregular
        recovery = self._recovery
        stamps = self._settings.kernel_stamps
        unpack = _TIMESPEC.unpack
        clock = time.time_ns
        ready = self._ready.poll(0, 1024)
        self._handshake.begin_turn()
        for fd, events in ready:
            index = by_fd.get(fd, -1)
            if index < 0:
                continue
            if state[index] == CONNECTING:
                self._connected(index, fd)
                continue
            sock = sockets[index]
            if sock is None or not events:
                continue
            try:
                if stamps:
                    data, ancillary, _, _ = sock.recvmsg(RECEIVE_BYTES, _ANCILLARY_BYTES)
                    now = clock()
                    if ancillary:
                        seconds, nanoseconds = unpack(ancillary[0][2])
                        arrived = seconds * NS + nanoseconds
                    else:
                        arrived = now
                else:
                    data = sock.recv(RECEIVE_BYTES)
                    arrived = now = clock()
            except BlockingIOError:
                continue
            except OSError:
                self._lost(index, "reset")
                continue
            if not data:
                self._lost(index, "closed")
                continue
            self._read_count += 1
            self._byte_count += len(data)
            heard[index] = now
            # Fast path: bytes that another listener has received, and no gap before them.
            known = reads.get((len(data), data[:64], coding[index]))
            if (
                known is not None
                and known.data == data
                and cursor[index] + 1 == known.first
                and index not in framers
                and index not in irregular
                and (not recovery or index not in recovery)
                and state[index] == STREAMING
            ):
                cursor[index] = known.last
                for span in known.spans:
                    span.arrived.append(arrived)
                    span.noticed.append(now)
                deliveries.delivered += known.last - known.first + 1
            else:
                self._received(index, data, arrived, now, known)
        # With kernel time stamps, bytes of the next millisecond can be read together.
        self._turn(gather=bool(ready) and stamps)

    def _turn(self, *, gather: bool) -> None:
        now = time.monotonic_ns()
        if now >= self._next_second_ns:
            self._next_second_ns = now + NS
            self._publish()
        self._leave_due(now)
        self._open_due(now)
        self._recovery.look(self.deliveries.cursor, now)
        if len(self._figures) > SPANS_KEPT:
            self.settle()
        due = min(self._next_second_ns, self._comings.due_ns)
        to_come = self._next_listener < self._settings.listeners and not self._stopping
        if to_come or self._recovery:
            due = min(due, now + CONNECT_TICK_NS)
        self._ready.rest(due, gather=gather)

    def _publish(self) -> None:
        second = self._second_now()
        second.counters["connected"] += self.streaming
        before_us, self._cpu_us = self._cpu_us, time.process_time_ns() // 1000
        second.counters["cpu_us"] += self._cpu_us - before_us
        if self._read_count:
            second.counters["reads"] += self._read_count
            second.counters["bytes"] += self._byte_count
            second.counters["deliveries"] += self.deliveries.delivered
        self._read_count = self._byte_count = self.deliveries.delivered = 0
        self.settle()
        self._expire()

    def settle(self, *, everything: bool = False) -> None:
        """Turn spans that everybody has, or that are old, into figures."""
        self._figures.settle(
            now_unix_ns=time.time_ns(), listeners=self.streaming, everything=everything
        )

    def _on_fault(self, what: str) -> None:
        self._second_now().counters[what] += 1

    def _second_now(self) -> Second:
        return self.series.seconds[(time.time_ns() - self._settings.start_unix_ns) // NS]

    def _received(
        self, index: int, data: bytes, arrived: int, now: int, known: Read | None
    ) -> None:
        if self._state[index] == HEAD:
            data = self._head(index, data)
            if not data:
                return
        framer = self._framers.get(index)
        clean = framer is None
        if framer is None:
            if self._by_content and known is not None and known.data == data:
                for span in known.spans:
                    self._deliver(index, span, arrived, now)
                return
            framer = Framer(self._coding[index])
        spans = self._spans(index, framer, data, arrived, now)
        if spans is None:
            return
        if framer.ended:
            self._lost(index, "closed")
        elif framer.empty:
            self._framers.pop(index, None)
            if clean:
                self._figures.remember((len(data), data[:64], self._coding[index]), data, spans)
        else:
            self._framers[index] = framer

    def _spans(
        self, index: int, framer: Framer, data: bytes, arrived: int, now: int
    ) -> list[Span] | None:
        """What a listener's bytes hold, delivered to it; None when it was lost over them."""
        spans: list[Span] = []
        try:
            for payload in framer.feed(data):
                span, fresh = self._figures.span_of(payload, time.time_ns())
                if fresh:
                    self.signs.see(span)
                    self.deliveries.examine(index, span)
                spans.append(span)
                self._deliver(index, span, arrived, now)
        except HasHistory:
            # From now on each listener has a decompressor of its own; this one comes back.
            self._own_gzip = True
            self._lost(index, "gzip_with_history")
            return None
        except ValueError as error:
            self._unreadable(index, "broken", str(error))
            return None
        return spans

    def _deliver(self, index: int, span: Span, arrived: int, now: int) -> None:
        if self.deliveries.deliver(index, span, arrived) and index not in self._recovery:
            span.arrived.append(arrived)
            span.noticed.append(now)

    def _open_due(self, now: int) -> None:
        if self._stopping:
            return
        settings = self._settings
        allowed = int((now - self._started_ns) * settings.connect_per_s / NS) + 1
        until = min(settings.listeners, allowed)
        # In a storm all come at once, as browsers do.
        at_once = settings.listeners if self._recovery else HANDSHAKES_AT_ONCE
        while self._next_listener < until and self._handshakes < at_once:
            self._open(self._next_listener, now)
            self._next_listener += 1
        returning = self._comings.returning(now)
        while self._handshakes < at_once and (index := next(returning, -1)) >= 0:
            self._open(index, now)

    def _leave_due(self, now: int) -> None:
        for index, opened_ns in self._comings.leaving(now):
            # The connection may have been lost since.
            if self._is_counted(index) and self._opened_ns[index] == opened_ns:
                self._lost(index, LEFT)
                if self._comings.replaces(index):
                    self.deliveries.forget(index)

    def storm(self) -> None:
        """Cut every stream but the first, as a deploy does; each comes back at once."""
        now = time.monotonic_ns()
        for index in range(1, self._settings.listeners):
            if self._is_counted(index):
                self._recovery.cut(index, now)
                self._lost(index, CUT)

    def _open(self, index: int, now: int) -> None:
        sock = self._dialer.dial(self._settings.first_number + index)
        if sock is None:
            self._disconnects["refused"] += 1
            self._retry(index)
            return
        fd = sock.fileno()
        wrap = self._settings.wrap
        self._sockets[index] = sock if wrap is None else wrap(sock)
        self._by_fd[fd] = index
        self._state[index] = CONNECTING
        self._opened_ns[index] = now
        self._handshakes += 1
        self._ready.register(fd, EPOLLIN | EPOLLOUT)

    def _connected(self, index: int, fd: int) -> None:
        sock = self._sockets[index]
        assert sock is not None
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._lost(index, "refused")
            return
        try:
            if not self._handshake.advance(sock):
                return
            # A request this short always fits an empty send buffer.
            sock.send(self._settings.opening_request(index, self.deliveries.resume_after(index)))
        except OSError:
            self._lost(index, "reset")
            return
        self._state[index] = HEAD
        self._ready.modify(fd, EPOLLIN)
        if self._late_head:
            self._counted(index)

    def _counted(self, index: int) -> None:
        """The listener is connected: by its head, or where that comes late by its request."""
        self._handshakes -= 1
        self.streaming += 1
        self._second_now().counters["connects"] += 1
        self._heard_unix_ns[index] = time.time_ns()
        self.deliveries.opened(index)
        now = time.monotonic_ns()
        self._comings.opened(index, self._opened_ns[index], now)
        goal = None if self._by_content else max(self.deliveries.cursor)
        self._recovery.back(index, now, goal)

    def _head(self, index: int, data: bytes) -> bytes:
        """Read the answer's head; returns what follows it."""
        try:
            data = after_interim(self._heads.pop(index, b"") + data)
            head = head_of(data, own_gzip=self._own_gzip)
        except ValueError as error:
            self._unreadable(index, "bad_answer", str(error))
            return b""
        if head is None:
            self._heads[index] = data
            return b""
        status, framer, rest = head
        if framer is None:
            self._lost(index, f"status_{status}")
            return b""
        self._coding[index] = framer.coding
        if not framer.empty:
            self._framers[index] = framer
        self._state[index] = STREAMING
        if not self._late_head:
            self._counted(index)
            took_us = (time.monotonic_ns() - self._opened_ns[index]) // 1000
            self._second_now().histograms["connect"].record(took_us)
        return rest

    def _is_counted(self, index: int) -> bool:
        state = self._state[index]
        return state == STREAMING or (state == HEAD and self._late_head)

    def _unreadable(self, index: int, cause: str, why: str) -> None:
        """No fault of a network makes such bytes: the sender is to blame."""
        self.deliveries.fault(index, "broken", detail=f"the stream cannot be read: {why}")
        self._lost(index, cause)

    def _lost(self, index: int, cause: str) -> None:
        sock = self._sockets[index]
        if sock is None:
            return
        del self._by_fd[sock.fileno()]
        sock.close()
        self._sockets[index] = None
        self._framers.pop(index, None)
        self._heads.pop(index, None)
        if self._is_counted(index):
            self.streaming -= 1
            self.deliveries.closed(index, cause)
        else:
            self._handshakes -= 1
        self._state[index] = IDLE
        if not self._stopping:
            self._disconnects[cause] += 1
            if cause not in OURS:
                self._second_now().counters["disconnects"] += 1
            self._recovery.lost(index)
            self._retry(index, at_once=cause == CUT)

    def _retry(self, index: int, *, at_once: bool = False) -> None:
        self._state[index] = WAITING
        # Jitter, so that listeners do not stampede a restarted server.
        retry_s = self.deliveries.retry_ms / 1000
        usual_s = self._settings.reconnect_s or (retry_s * 0.5, retry_s * 1.5)
        away_s = (0.0, 0.0) if at_once else usual_s
        self._comings.lost(index, away_s, time.monotonic_ns())

    def _expire(self) -> None:
        """Give up handshakes that take too long, and streams that fell silent."""
        if self._handshakes:
            limit = time.monotonic_ns() - HANDSHAKE_TIMEOUT_NS
            for index, state in enumerate(self._state):
                opening = state in (CONNECTING, HEAD) and not self._is_counted(index)
                if opening and self._opened_ns[index] < limit:
                    self._lost(index, "handshake_timeout")
        if self._settings.silence_ns:
            limit = time.time_ns() - self._settings.silence_ns
            for index in range(self._settings.listeners):
                if self._is_counted(index) and self._heard_unix_ns[index] < limit:
                    self._lost(index, "silence")

    def take_records(self) -> Records:
        """First sights of events, and listeners' stretches, since last time."""
        return self.deliveries.take_records()

    def stop(self) -> None:
        """Close every connection and end all stretches. No reconnects after this."""
        self._stopping = True
        for index in range(self._settings.listeners):
            if self._sockets[index] is not None:
                self._lost(index, STOPPED)
        self.settle(everything=True)
        self._publish()

    def close(self) -> None:
        """Release all descriptors."""
        self.stop()
        self._ready.close()

    def account(self, target: int | None = None) -> ListenerTotals:
        """Where every listener stands; `behind` counts cursors that are not exactly `target`."""
        return self.deliveries.account(
            streaming=self.streaming, disconnects=dict(self._disconnects), target=target
        )
