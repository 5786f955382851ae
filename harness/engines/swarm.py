"""Thousands of SSE listeners in one process, every id accounted for. Not an SSE library.

The state of a listener is a cursor and a few bytes in arrays. Listeners that
receive equal bytes share one `Span`, so at a thousand changes a second the
scanning happens once, not a thousand times; what each listener adds is a
comparison, a cursor and two times. Figures are made from the spans a moment
later, for all listeners at once.

The engine never blocks. An outer loop waits for `fileno()` and calls `pump()`.
"""

import _socket
import errno
import heapq
import itertools
import random
import socket
import struct
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.engines.event_table import EventTable
from harness.engines.listener_stats import VIOLATIONS, Account, Stretch
from harness.measure.series import Second, Series
from harness.net.http_wire import status_of, stream_request
from harness.net.readiness import EPOLLIN, EPOLLOUT, Readiness
from harness.net.sockets import resolve
from harness.net.sse_parser import Framer, Item, Kind, Span, Top, framer_of
from scoreboard.gzipped import HasHistory

NS = 1_000_000_000
IDLE, CONNECTING, HEAD, STREAMING, WAITING = range(5)
RECEIVE_BYTES = 64 * 1024
SO_TIMESTAMPNS = 35
_ANCILLARY_BYTES = 64
_TIMESPEC = struct.Struct("qq")
HANDSHAKES_AT_ONCE = 256
HANDSHAKE_TIMEOUT_NS = 15 * NS
SETTLE_AFTER_NS = 2 * NS
PORTS_PER_SOURCE = 20_000
MAX_RETRY_MS = 30_000
MAX_FAULTY = 1000
VIOLATIONS_NOTED = 20
"""Violations of one kind and listener that go into the history; all are counted."""
LAGS_AT_ONCE = 200_000
"""Bounds the arrays that settling needs, and how long it keeps the loop from reading."""
REACH = ("reach_first", "reach_median", "reach_last")


@dataclass(frozen=True, kw_only=True)
class SwarmSettings:
    """What a swarm needs. `start_unix_ns` is second 0 of the series.

    Listeners carry the `tokens` in turn, so that there is one per player, not per listener.
    With `gzip` they accept it, as every browser does.
    """

    address: tuple[str, int]
    host_header: str
    listeners: int
    start_unix_ns: int
    name: str = "swarm"
    first_number: int = 0
    connect_per_s: float = 5000.0
    seed: int = 1
    kernel_stamps: bool = True
    tokens: Sequence[str] = field(default=(), repr=False)
    gzip: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """The bytes of one read that was whole blocks only: plain spans `first` to `last`."""

    data: bytes
    spans: tuple[Span, ...]
    first: int
    last: int


def _consecutive(spans: list[Span]) -> bool:
    return all(span.plain for span in spans) and all(
        one.last + 1 == other.first for one, other in itertools.pairwise(spans)
    )


class Swarm:
    """The engine. `series` gets the figures, `account()` the sworn statement.

    Counters: connected (a gauge, once a second), reads, bytes, deliveries,
    connects, disconnects, cpu_us (of the whole process). Histograms in µs: connect
    (first SYN to first block), lag (commit to the kernel of each listener, one entry
    per event and listener), reach_first, reach_median, reach_last (one entry per event, of the
    listeners that had it within SETTLE_AFTER_NS; the table knows the later ones),
    and notice (kernel to this process: the harness's own delay).
    """

    def __init__(self, settings: SwarmSettings, *, series: Series | None = None) -> None:
        self._settings = settings
        self.series = series or Series()
        self._ready = Readiness()
        count = settings.listeners
        self._state = bytearray(count)
        self._gzip = bytearray(count)
        self._cursor = array("q", [-1]) * count
        self._opened_ns = array("q", bytes(8 * count))
        self._stretch = array("q", [-1]) * count
        self._sockets: list[_socket.socket | None] = [None] * count
        self._by_fd: dict[int, int] = {}
        self._framers: dict[int, Framer] = {}
        self._heads: dict[int, bytes] = {}
        self._missing: dict[int, set[int]] = {}
        self._wait: list[tuple[int, int]] = []
        self._next_listener = 0
        self._handshakes = 0
        self._retry_ms = 2000
        self._random = random.Random(settings.seed)
        self._started_ns = time.monotonic_ns()
        self._cpu_us = time.process_time_ns() // 1000
        self._reads: dict[object, Read] = {}
        self._spans: dict[object, Span] = {}
        self._next_second_ns = 0
        self._deliveries = 0
        self._read_count = 0
        self._byte_count = 0
        self._stopping = False
        self.table = EventTable()
        self.streaming = 0
        self._totals: Counter[str] = Counter()
        self._faulty: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._disconnects: Counter[str] = Counter()
        self._event_records: list[tuple[int, str, int]] = []
        self._stretch_records: list[Stretch] = []
        family, target = resolve(settings.address)
        self._family, self._target = family, target
        self._rotate = family == socket.AF_INET and target[0].startswith("127.")

    def fileno(self) -> int:
        """Readable when `pump` has something to do."""
        return self._ready.fileno()

    @property
    def converging_to(self) -> int:
        """The least cursor of all listeners, -1 while one has none."""
        return min(self._cursor) if len(self._cursor) else -1

    # The turn

    def pump(self) -> None:
        """Do all that can be done now without waiting."""
        by_fd, state, sockets = self._by_fd, self._state, self._sockets
        reads, cursor, gzip = self._reads, self._cursor, self._gzip
        framers, missing = self._framers, self._missing
        stamps = self._settings.kernel_stamps
        unpack = _TIMESPEC.unpack
        clock = time.time_ns
        ready = self._ready.poll(0, 1024)
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
            # The common case: bytes that another listener received before, and in step.
            known = reads.get((len(data), data[:64], gzip[index]))
            if (
                known is not None
                and known.data == data
                and cursor[index] + 1 == known.first
                and index not in framers
                and index not in missing
                and state[index] == STREAMING
            ):
                cursor[index] = known.last
                for span in known.spans:
                    span.arrived.append(arrived)
                    span.noticed.append(now)
                self._deliveries += known.last - known.first + 1
            else:
                self._received(index, data, arrived, now)
        # What arrives in the next moment may be read together where the kernel says when it did.
        self._turn(gather=bool(ready) and stamps)

    def _turn(self, *, gather: bool) -> None:
        now = time.monotonic_ns()
        if now >= self._next_second_ns:
            self._next_second_ns = now + NS
            self._publish()
        self._open_due(now)
        if len(self._spans) > 64:
            self.settle()
        due = self._next_second_ns
        if self._wait:
            due = min(due, self._wait[0][0])
        if self._next_listener < self._settings.listeners and not self._stopping:
            due = min(due, now + 5_000_000)
        self._ready.rest(due, gather=gather)

    def _publish(self) -> None:
        second = self._second_now()
        second.counters["connected"] += self.streaming
        before_us, self._cpu_us = self._cpu_us, time.process_time_ns() // 1000
        second.counters["cpu_us"] += self._cpu_us - before_us
        for name, value in (
            ("reads", self._read_count),
            ("bytes", self._byte_count),
            ("deliveries", self._deliveries),
        ):
            if value:
                second.counters[name] += value
        self._read_count = self._byte_count = self._deliveries = 0
        self.settle()
        self._expire_handshakes()

    def _second_now(self) -> Second:
        return self.series.seconds[(time.time_ns() - self._settings.start_unix_ns) // NS]

    # Receiving

    def _received(self, index: int, data: bytes, arrived: int, now: int) -> None:
        if self._state[index] == HEAD:
            rest = self._head(index, data)
            if not rest:
                return
            data = rest
        framer = self._framers.get(index)
        clean = framer is None
        if framer is None:
            framer = Framer(gzip=bool(self._gzip[index]))
        spans: list[Span] = []
        try:
            for payload in framer.feed(data):
                span = self._span(index, payload)
                spans.append(span)
                self._deliver(index, span, arrived, now)
        except HasHistory:
            self._lost(index, "gzip_with_history")
            return
        except ValueError:
            self._fault(index, "broken")
            self._lost(index, "broken")
            return
        if framer.ended:
            self._lost(index, "closed")
        elif framer.empty:
            self._framers.pop(index, None)
            if clean and spans and _consecutive(spans):
                key = (len(data), data[:64], self._gzip[index])
                if key not in self._reads:
                    self._reads[key] = Read(data, tuple(spans), spans[0].first, spans[-1].last)
                    for span in spans:
                        span.keys.append(key)
        else:
            self._framers[index] = framer

    def _span(self, index: int, payload: bytes) -> Span:
        key = (len(payload), payload[:64])
        span = self._spans.get(key)
        if span is not None and span.payload == payload:
            return span
        fresh = Span(payload, time.time_ns())
        committed = iter(fresh.groups)
        group = next(committed, None)
        for item in fresh.items:
            if item.kind is not Kind.UPDATE:
                continue
            while group is not None and not group[1] <= item.id < group[1] + group[2]:
                group = next(committed, None)
            verdict = self.table.note(item, group[0] if group else 0)
            if verdict:
                self._event_records.append((item.id, item.user, item.score))
            elif verdict is False:
                self._fault(index, "conflicts", item.id)
        if span is None:
            self._spans[key] = fresh
        else:
            # Same length and beginning, other content: keep both, under a key of its own.
            self._spans[id(fresh)] = fresh
        return fresh

    def _deliver(self, index: int, span: Span, arrived: int, now: int) -> None:
        cursor = self._cursor
        if span.plain and cursor[index] + 1 == span.first:
            if self._stretch[index] < 0:
                self._stretch[index] = span.first
            cursor[index] = span.last
            self._deliveries += span.last - span.first + 1
        else:
            for item in span.items:
                self._item(index, item)
        if span.first >= 0:
            span.arrived.append(arrived)
            span.noticed.append(now)

    def _item(self, index: int, item: Item) -> None:
        kind = item.kind
        if kind is Kind.UPDATE:
            self._update(index, item.id)
        elif kind is Kind.HELLO:
            if item.retry_ms >= 0:
                self._retry_ms = min(item.retry_ms, MAX_RETRY_MS)
            if self._cursor[index] < 0 and item.id >= 0:
                self._cursor[index] = item.id
                self._stretch[index] = item.id + 1
        elif kind in (Kind.RESET, Kind.SNAPSHOT):
            seq = item.top.seq if item.top else item.id
            self._end_stretch(index)
            self._missing.pop(index, None)
            if kind is Kind.RESET:
                self._fault(index, "resets")
            self._note(index, kind.value, seq, seq, top=item.top)
            self._cursor[index] = seq
            self._stretch[index] = seq + 1
        elif kind is Kind.BROKEN:
            self._fault(index, "broken", item.id)

    def _update(self, index: int, seq: int) -> None:
        cursor = self._cursor[index]
        self._deliveries += 1
        if cursor < 0 or seq == cursor + 1:
            if self._stretch[index] < 0 or cursor < 0:
                self._stretch[index] = seq
            self._cursor[index] = seq
        elif seq > cursor:
            self._end_stretch(index)
            self._fault(index, "gaps", seq)
            missing = self._missing.setdefault(index, set())
            missing.update(range(cursor + 1, seq))
            self._cursor[index] = seq
            self._stretch[index] = seq
        elif seq in self._missing.get(index, ()):
            self._fault(index, "reorders", seq)
            missing = self._missing[index]
            missing.discard(seq)
            if not missing:
                del self._missing[index]
        else:
            self._fault(index, "duplicates", seq)

    def _fault(self, index: int, what: str, seq: int = -1) -> None:
        self._totals[what] += 1
        faults = self._faulty[self._settings.first_number + index]
        faults[what] += 1
        self._second_now().counters[what] += 1
        if what != "resets" and faults[what] <= VIOLATIONS_NOTED:
            self._note(index, "violation", self._cursor[index] + 1, seq, detail=VIOLATIONS[what])

    def _note(
        self,
        index: int,
        what: str,
        first: int = -1,
        last: int = -1,
        *,
        detail: str = "",
        top: Top | None = None,
    ) -> None:
        number = self._settings.first_number + index
        self._stretch_records.append(Stretch(number, what, first, last, detail, top))

    def _end_stretch(self, index: int) -> None:
        start, end = self._stretch[index], self._cursor[index]
        if 0 <= start <= end:
            self._note(index, "range", start, end)
        self._stretch[index] = -1

    # Figures

    def settle(self, *, everything: bool = False) -> None:
        """Turn spans that everybody has, or that are old, into figures."""
        now = time.time_ns()
        ripe: list[tuple[object, Span]] = []
        for key, span in self._spans.items():
            if (
                everything
                or len(span.arrived) >= self.streaming
                or now - span.born_ns > SETTLE_AFTER_NS
            ):
                ripe.append((key, span))
        groups: list[list[Span]] = []
        end = -1
        for key, span in ripe:
            del self._spans[key]
            for read_key in span.keys:
                self._reads.pop(read_key, None)
        spans = sorted((s for _, s in ripe if s.first >= 0 and s.arrived), key=lambda s: s.first)
        for span in spans:
            if span.first <= end:
                groups[-1].append(span)
            else:
                groups.append([span])
            end = max(end, span.last)
        for group in groups:
            self._settle_group(group)

    def _settle_group(self, group: list[Span]) -> None:
        start_us = self._settings.start_unix_ns // 1000
        sorted_us = []
        for span in group:
            arrived = np.frombuffer(span.arrived, dtype=np.int64)
            delay = (np.frombuffer(span.noticed, dtype=np.int64) - arrived) // 1000
            arrived_us = np.sort(arrived // 1000)
            sorted_us.append(arrived_us)
            self._record_lag(span.groups, arrived_us)
            if span.groups:
                second = self.series.seconds[(int(arrived_us[0]) - start_us) // 1_000_000]
                second.histograms["notice"].record_many(delay)
        bounds = sorted({s.first for s in group} | {s.last + 1 for s in group})
        for low, high in itertools.pairwise(bounds):
            parts = [
                times
                for span, times in zip(group, sorted_us, strict=True)
                if span.first <= low and span.last >= high - 1
            ]
            if parts:
                times = parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))
                ends = (int(times[0]), int(times[len(times) // 2]), int(times[-1]))
                if self.table.reach(low, high - 1, ends, len(times)):
                    self._record_reach(low, high - 1, ends)

    def _record_lag(
        self, groups: list[tuple[int, int, int]], arrived_us: npt.NDArray[np.int64]
    ) -> None:
        start_us = self._settings.start_unix_ns // 1000
        by_second: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for committed, _, count in groups:
            if committed:
                by_second[(committed - start_us) // 1_000_000].append((committed, count))
        at_once = max(1, LAGS_AT_ONCE // len(arrived_us))
        for number, commits in by_second.items():
            histogram = self.series.seconds[number].histograms["lag"]
            table = np.array(commits, dtype=np.int64)
            for start in range(0, len(table), at_once):
                part = table[start : start + at_once]
                histogram.record_differences(arrived_us, part[:, 0], part[:, 1])

    def _record_reach(self, low: int, high: int, ends: tuple[int, int, int]) -> None:
        start_us = self._settings.start_unix_ns // 1000
        for committed, count in self.table.commits(low, high):
            if committed:
                histograms = self.series.seconds[(committed - start_us) // 1_000_000].histograms
                for name, at in zip(REACH, ends, strict=True):
                    histograms[name].record(at - committed, count)

    # Connections

    def _open_due(self, now: int) -> None:
        if self._stopping:
            return
        settings = self._settings
        allowed = int((now - self._started_ns) * settings.connect_per_s / NS) + 1
        until = min(settings.listeners, allowed)
        while self._next_listener < until and self._handshakes < HANDSHAKES_AT_ONCE:
            self._open(self._next_listener, now)
            self._next_listener += 1
        while self._wait and self._wait[0][0] <= now and self._handshakes < HANDSHAKES_AT_ONCE:
            self._open(heapq.heappop(self._wait)[1], now)

    def _open(self, index: int, now: int) -> None:
        sock = _socket.socket(
            self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        number = self._settings.first_number + index
        if self._rotate and number >= PORTS_PER_SOURCE:
            # One source address has about 28,000 ports towards one server.
            sock.bind((f"127.0.0.{2 + number // PORTS_PER_SOURCE % 250}", 0))
        if self._settings.kernel_stamps:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        code = sock.connect_ex(self._target)
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            self._disconnects["refused"] += 1
            self._retry(index)
            return
        fd = sock.fileno()
        self._sockets[index] = sock
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
        settings, cursor = self._settings, self._cursor[index]
        token = settings.tokens[index % len(settings.tokens)] if settings.tokens else ""
        try:
            # A request this short always fits an empty send buffer.
            sock.send(
                stream_request(
                    settings.host_header,
                    cursor if cursor >= 0 else None,
                    token,
                    gzip=settings.gzip,
                )
            )
        except OSError:
            self._lost(index, "reset")
            return
        self._state[index] = HEAD
        self._ready.modify(fd, EPOLLIN)

    def _head(self, index: int, data: bytes) -> bytes:
        """Read the answer's head; returns what follows it."""
        data = self._heads.pop(index, b"") + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > 65536:
                self._lost(index, "bad_answer")
            else:
                self._heads[index] = data
            return b""
        try:
            status = status_of(data)
        except ValueError:
            self._lost(index, "bad_answer")
            return b""
        if status != 200:
            self._lost(index, f"status_{status}")
            return b""
        try:
            framer = framer_of(data)
        except ValueError:
            self._lost(index, "bad_answer")
            return b""
        self._gzip[index] = framer.gzip
        if not framer.empty:
            self._framers[index] = framer
        self._state[index] = STREAMING
        self._handshakes -= 1
        self.streaming += 1
        second = self._second_now()
        second.counters["connects"] += 1
        second.histograms["connect"].record((time.monotonic_ns() - self._opened_ns[index]) // 1000)
        self._note(index, "open", self._cursor[index])
        return data[end + 4 :]

    def _lost(self, index: int, cause: str) -> None:
        sock = self._sockets[index]
        if sock is None:
            return
        del self._by_fd[sock.fileno()]
        sock.close()
        self._sockets[index] = None
        self._framers.pop(index, None)
        self._heads.pop(index, None)
        if self._state[index] == STREAMING:
            self.streaming -= 1
            self._end_stretch(index)
            self._note(index, "close", last=self._cursor[index], detail=cause)
        else:
            self._handshakes -= 1
        self._state[index] = IDLE
        if not self._stopping:
            self._disconnects[cause] += 1
            self._second_now().counters["disconnects"] += 1
            self._retry(index)

    def _retry(self, index: int) -> None:
        self._state[index] = WAITING
        # Jitter, so that a restarted server is not met by all listeners in one moment.
        delay_ns = int(self._retry_ms * (0.5 + self._random.random()) * 1_000_000)
        heapq.heappush(self._wait, (time.monotonic_ns() + delay_ns, index))

    def _expire_handshakes(self) -> None:
        if not self._handshakes:
            return
        limit = time.monotonic_ns() - HANDSHAKE_TIMEOUT_NS
        for index, state in enumerate(self._state):
            if state in (CONNECTING, HEAD) and self._opened_ns[index] < limit:
                self._lost(index, "handshake_timeout")

    # The end

    def take_records(self) -> tuple[list[tuple[int, str, int]], list[Stretch]]:
        """First sights of events (seq, user, score), and listeners' stretches, since last time."""
        events, self._event_records = self._event_records, []
        stretches, self._stretch_records = self._stretch_records, []
        return events, stretches

    def stop(self) -> None:
        """Close every connection and end all stretches. No reconnects after this."""
        self._stopping = True
        for index in range(self._settings.listeners):
            if self._sockets[index] is not None:
                self._lost(index, "stopped")
        self.settle(everything=True)
        self._publish()

    def close(self) -> None:
        """Release all descriptors."""
        self.stop()
        self._ready.close()

    def account(self, target: int | None = None) -> Account:
        """Where every listener stands; `behind` counts cursors that are not exactly `target`."""
        missing = sum(len(ids) for ids in self._missing.values())
        behind = 0 if target is None else sum(1 for seq in self._cursor if seq != target)
        return Account(
            listeners=self._settings.listeners,
            streaming=self.streaming,
            cursor_min=min(self._cursor, default=-1),
            cursor_max=max(self._cursor, default=-1),
            behind=behind,
            missing=missing,
            gaps=self._totals["gaps"],
            duplicates=self._totals["duplicates"],
            reorders=self._totals["reorders"],
            resets=self._totals["resets"],
            broken=self._totals["broken"],
            conflicts=self._totals["conflicts"],
            disconnects=dict(self._disconnects),
            faulty={n: dict(c) for n, c in sorted(self._faulty.items())[:MAX_FAULTY]},
        )
