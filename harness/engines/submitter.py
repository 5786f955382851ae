"""Open-loop submitter: sends on schedule, regardless of outstanding requests. Not a client library.

Arrivals share a pool of keep-alive connections: an arrival takes a free one, queues for one, or is
dropped after queueing too long. Each has three times: intended, sent, answered. Response time
counts from the intended send, so it is free of coordinated omission: a server that stalls cannot
hide the requests that it kept from being sent. The schedule is the offered load; arrivals that
were dropped stay part of it.

The engine never blocks. An outer loop (gevent in Locust, epoll elsewhere) waits
for `fileno()` and calls `pump()`.
"""

import _socket
import errno
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.capabilities import Signs
from harness.measure.series import Series
from harness.net.http_wire import (
    BadAnswer,
    after_interim,
    answer_end,
    body_of,
    closes,
    header_of,
    submission_id_of,
    until_close,
)
from harness.net.readiness import EPOLLIN, EPOLLOUT, Readiness
from harness.net.sockets import resolve
from harness.net.tls import AnySocket, Handshakes, Wrap

NS = 1_000_000_000
NEVER = 1 << 62
CONNECTS_AT_ONCE = 128
CONNECTIONS_AT_LEAST = 32
RECONNECT_AFTER_NS = 200_000_000
SWEEP_EVERY_NS = 50_000_000
RECEIVE_BYTES = 65536
WAKE_APART_NS = 1_000_000
"""Wake-ups are at least this far apart. Arrivals within the interval are sent together (their delay
is measured) and answers are read together: a wake-up for each would cost generator and server more
than the request itself."""


NOTHING_SEEN = Signs()
OK, FAIL, UNKNOWN, DROPPED = "ok", "fail", "unknown", "dropped"


@dataclass(frozen=True, kw_only=True)
class SubmitterSettings:
    """Settings of a submitter. Times in ns on the monotonic clock.

    Connections are opened on demand, at most `connections`.

    `wrap` makes a socket speak TLS.

    Arrivals are due from `start_ns` on; second 0 of the series begins at `zero_ns`.
    """

    address: tuple[str, int]
    start_ns: int
    zero_ns: int
    connections: int = 4096
    wrap: Wrap | None = None
    timeout_ns: int = 10 * NS
    drop_after_ns: int = 10 * NS


# (number, user, increment, sent_ns), then (number, outcome, status, submission id, done_ns).
Sent = tuple[int, int, int, int]
Done = tuple[int, str, int, bytes | None, int]


class Connection:
    """One socket and its outstanding request."""

    __slots__ = ("buffer", "busy", "due_ns", "number", "ready", "sent_ns", "sock", "unsent")

    def __init__(self, sock: AnySocket) -> None:
        self.sock = sock
        self.ready = False
        self.busy = False
        self.number = 0
        self.due_ns = 0
        self.sent_ns = 0
        self.buffer = b""
        self.unsent = b""


class Submitter:
    """The engine. `series` gets the figures, `take_records` the operations for the history.

    Counters per intended second: intended (the offered load), sent, ok (goodput), fail, unknown,
    dropped, waited (arrivals queued because every connection was busy) and `status_<code>` or
    `cause_<name>`. Histograms in µs: response (intended send to 2xx; requests without an answer and
    dropped arrivals count with the time until then; an answered 4xx or 5xx is an error and not in
    it, since a quick refusal would flatter the tail latency), service (actual send to 2xx), delay
    (send delay: intended to actual send), and late (scheduler lag: intended send to the loop's
    attention, which is the generator's own fault).
    """

    def __init__(
        self,
        settings: SubmitterSettings,
        arrivals: Iterator[tuple[int, int]],
        choose: Callable[[int], tuple[int, int]],
        request: Callable[[int, int, int], bytes],
        *,
        read_answer: Callable[[int, bytes], tuple[str, bytes | None]] | None = None,
        series: Series | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._settings = settings
        self._arrivals = arrivals
        self._choose = choose
        self._request = request
        self._read_answer = read_answer
        self.series = series or Series()
        self._clock = clock_ns
        self._ready = Readiness()
        self._family, self._target = resolve(settings.address)
        self._by_fd: dict[int, Connection] = {}
        self._free: list[Connection] = []
        self._waiting: deque[tuple[int, int]] = deque()
        self._in_flight: deque[tuple[int, int, Connection]] = deque()
        self._connecting = 0
        self._handshakes = Handshakes(self._ready)
        self._reconnect_ns = 0
        self._next_sweep_ns = 0
        self._next_number = 0
        self._next_due_ns = 0
        self._stopped = False
        self._sent_records: list[Sent] = []
        self._done_records: list[Done] = []
        self.busy_count = 0
        self.signs = NOTHING_SEEN
        self._advance()

    def fileno(self) -> int:
        """Readable when `pump` has something to do."""
        return self._ready.fileno()

    @property
    def open_connections(self) -> int:
        """Established connections, free or busy."""
        return len(self._by_fd) - self._connecting

    @property
    def finished(self) -> bool:
        """Every arrival was sent and answered, or dropped."""
        return self._next_due_ns == NEVER and not self._waiting and self.busy_count == 0

    @property
    def record_count(self) -> int:
        """Number of records that `take_records` would return."""
        return len(self._sent_records) + len(self._done_records)

    def stop(self) -> None:
        """Stop the schedule; arrivals already due are still sent and awaited."""
        self._stopped = True
        self._next_due_ns = NEVER

    def take_records(self) -> tuple[list[Sent], list[Done]]:
        """Operations sent and operations completed since the last call, each in order of time."""
        # Completions first, so that none is returned before its send.
        done, self._done_records = self._done_records, []
        sent, self._sent_records = self._sent_records, []
        return sent, done

    def close(self) -> None:
        """Close every connection."""
        for connection in self._by_fd.values():
            connection.sock.close()
        self._by_fd.clear()
        self._ready.close()

    # The turn

    def pump(self) -> None:
        """Do all that can be done now without waiting."""
        ready = self._ready.poll(0, 1024)
        self._handshakes.begin_turn()
        for fd, events in ready:
            connection = self._by_fd.get(fd)
            if connection is None:
                continue
            if not connection.ready:
                self._connected(fd, connection)
            elif events & EPOLLOUT:
                self._send_rest(fd, connection)
            else:
                self._readable(connection)
        now = self._clock()
        if now >= self._next_due_ns:
            self._dispatch(now)
        if now >= self._next_sweep_ns:
            self._sweep(now)
        soonest = min(self._next_due_ns, self._next_sweep_ns)
        # Answers of one server batch arrive back to back: gather them.
        self._ready.rest(max(soonest, now + WAKE_APART_NS), gather=bool(ready))

    def _advance(self) -> None:
        step = None if self._stopped else next(self._arrivals, None)
        if step is None:
            self._next_due_ns = NEVER
        else:
            self._next_number, due = step
            self._next_due_ns = self._settings.start_ns + due

    def _dispatch(self, now: int) -> None:
        seconds = self.series.seconds
        zero_ns = self._settings.zero_ns
        clock = self._clock
        while self._next_due_ns <= now:
            number, due = self._next_number, self._next_due_ns
            second = seconds[(due - zero_ns) // NS]
            second.counters["intended"] += 1
            second.histograms["late"].record((now - due) // 1000)
            if self._free and not self._waiting:
                self._send(self._free.pop(), number, due)
            else:
                second.counters["waited"] += 1
                self._waiting.append((number, due))
                self._next_sweep_ns = 0
            self._advance()
            now = clock()

    def _send(self, connection: Connection, number: int, due: int) -> None:
        user, increment = self._choose(number)
        data = self._request(number, user, increment)
        sent = self._clock()
        # Recorded before the first byte is sent, so that the history holds every possible effect.
        self._sent_records.append((number, user, increment, sent))
        try:
            written = connection.sock.send(data)
        except BlockingIOError:
            written = 0
        except OSError:
            # Nothing was sent; retry the arrival on another connection.
            self._sent_records.pop()
            self._lose(connection)
            self._waiting.appendleft((number, due))
            return
        connection.busy = True
        connection.number = number
        connection.due_ns = due
        connection.sent_ns = sent
        self.busy_count += 1
        if written < len(data):
            connection.unsent = data[written:]
            self._ready.modify(connection.sock.fileno(), EPOLLIN | EPOLLOUT)
        self._in_flight.append((sent, number, connection))
        second = self.series.seconds[(due - self._settings.zero_ns) // NS]
        second.counters["sent"] += 1
        second.histograms["delay"].record((sent - due) // 1000)

    def _send_rest(self, fd: int, connection: Connection) -> None:
        try:
            written = connection.sock.send(connection.unsent)
        except BlockingIOError:
            return
        except OSError:
            self._lose(connection)
            return
        connection.unsent = connection.unsent[written:]
        if not connection.unsent:
            self._ready.modify(fd, EPOLLIN)

    def _readable(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._lose(connection)
            return
        closed = not data
        if not connection.busy or (closed and not connection.buffer):
            # Closed by the server, or bytes without a request.
            self._lose(connection)
            return
        if connection.buffer:
            data = connection.buffer + data
        try:
            if data[9:10] == b"1":
                data = after_interim(data)
            end = (len(data) if until_close(data) else None) if closed else answer_end(data)
            status = 0 if end is None else int(data[9:12])
        except (BadAnswer, ValueError):
            self._lose(connection, "bad_answer")
            return
        if end is not None:
            self._answered(connection, status, data[:end], reusable=not closed and len(data) == end)
        elif closed:
            self._lose(connection)
        else:
            connection.buffer = data

    def _answered(
        self, connection: Connection, status: int, answer: bytes, *, reusable: bool
    ) -> None:
        done = self._clock()
        connection.buffer = b""
        connection.busy = False
        self.busy_count -= 1
        number, due = connection.number, connection.due_ns
        second = self.series.seconds[(due - self._settings.zero_ns) // NS]
        counters, histograms = second.counters, second.histograms
        if self._read_answer is not None:
            outcome, submission_id = self._read_answer(status, self._content_of(answer))
        else:
            outcome = OK if 200 <= status < 300 else FAIL if 400 <= status < 500 else UNKNOWN
            submission_id = submission_id_of(answer)
        if outcome == OK:
            if self.signs is NOTHING_SEEN:
                self.signs = Signs(
                    submission_ids=submission_id is not None,
                    outcome_address=header_of(answer, "location") is not None,
                )
            histograms["response"].record((done - due) // 1000)
            histograms["service"].record((done - connection.sent_ns) // 1000)
        else:
            histograms["refusal"].record((done - due) // 1000)
        counters[outcome] += 1
        counters[f"status_{status}"] += 1
        self._done_records.append((number, outcome, status, submission_id, done))
        if not reusable or closes(answer):
            self._lose(connection)
        elif self._waiting:
            self._send(connection, *self._waiting.popleft())
        else:
            self._free.append(connection)

    def _content_of(self, answer: bytes) -> bytes:
        """What `read_answer` is given of a whole answer: nothing where its coding is broken."""
        try:
            return body_of(answer)
        except BadAnswer:
            return b""

    # Failures

    def _lose(self, connection: Connection, cause: str = "reset") -> None:
        fd = connection.sock.fileno()
        if self._by_fd.pop(fd, None) is None:
            return
        connection.sock.close()
        if not connection.ready:
            self._connecting -= 1
        elif connection.busy:
            self._unanswered(connection, cause)
        elif connection in self._free:
            self._free.remove(connection)

    def _unanswered(self, connection: Connection, cause: str) -> None:
        connection.busy = False
        self.busy_count -= 1
        now = self._clock()
        second = self.series.seconds[(connection.due_ns - self._settings.zero_ns) // NS]
        second.counters[UNKNOWN] += 1
        second.counters[f"cause_{cause}"] += 1
        second.histograms["response"].record((now - connection.due_ns) // 1000)
        self._done_records.append((connection.number, UNKNOWN, 0, None, now))

    def _give_up(self, due: int) -> None:
        # Never sent, so not in the history; the response time still counts it.
        second = self.series.seconds[(due - self._settings.zero_ns) // NS]
        second.counters[DROPPED] += 1
        second.histograms["response"].record((self._clock() - due) // 1000)

    def _sweep(self, now: int) -> None:
        self._next_sweep_ns = now + SWEEP_EVERY_NS
        in_flight, limit = self._in_flight, now - self._settings.timeout_ns
        while in_flight:
            sent, number, connection = in_flight[0]
            if not connection.busy or connection.number != number or connection.sent_ns != sent:
                in_flight.popleft()
            elif sent <= limit:
                in_flight.popleft()
                self._lose(connection, "timeout")
            else:
                break
        oldest = now - self._settings.drop_after_ns
        while self._waiting and self._waiting[0][1] <= oldest:
            self._give_up(self._waiting.popleft()[1])
        if now >= self._reconnect_ns:
            self._open_missing(now)

    # Connections

    def _open_missing(self, now: int) -> None:
        # With headroom: an arrival cannot wait for a handshake.
        wanted = CONNECTIONS_AT_LEAST + (self.busy_count + len(self._waiting)) * 5 // 4
        missing = min(wanted, self._settings.connections) - len(self._by_fd)
        for _ in range(min(missing, CONNECTS_AT_ONCE - self._connecting)):
            sock = _socket.socket(
                self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex(self._target)
            if code not in (0, errno.EINPROGRESS):
                sock.close()
                self._reconnect_ns = now + RECONNECT_AFTER_NS
                return
            wrap = self._settings.wrap
            connection = Connection(sock if wrap is None else wrap(sock))
            self._by_fd[sock.fileno()] = connection
            self._connecting += 1
            self._ready.register(sock.fileno(), EPOLLIN | EPOLLOUT)

    def _connected(self, fd: int, connection: Connection) -> None:
        try:
            if connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise ConnectionError
            if not self._handshakes.advance(connection.sock):
                return
        except OSError:
            self._lose(connection)
            self._reconnect_ns = self._clock() + RECONNECT_AFTER_NS
            return
        connection.ready = True
        self._connecting -= 1
        self._ready.modify(fd, EPOLLIN)
        if self._waiting:
            self._send(connection, *self._waiting.popleft())
        else:
            self._free.append(connection)
