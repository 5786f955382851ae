"""An in-memory server with the HTTP contract, to calibrate the load generator and to plant faults.

Not a scoreboard: nothing is durable, tokens are not checked, limits are not enforced. With planted
faults it is the known-bad server that the harness must convict of exactly those faults
(`harness selfproof`).
"""

import asyncio
import contextlib
import json
import random
import signal
import time
import uuid
from dataclasses import dataclass
from typing import cast

import msgspec

from scoreboard import contract
from scoreboard.domain import Change, Standing
from scoreboard.sse import Snapshot, chunk, encode_hello, encode_snapshot, encode_updates

RING_CHANGES = 100_000
HEARTBEAT_S = 10.0
SLOWING = 5.0


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Planted faults. Seconds and numbers count from the first submission.

    `stall_at_s`, `stall_s`: answer nothing and send nothing for that long.
    `lose_submissions`: numbers of submissions acknowledged but never applied.
    `double_submissions`: numbers of submissions applied twice.
    `lose_answers`: numbers of submissions applied, but their connection is cut.
    `lose_events`, `duplicate_events`, `swap_events`, `garble_events`: seqs that one
    listener (the `victim`th) misses, gets twice, gets in the wrong order (the
    seq after the one after it), or with another score.
    `slow_listener_s`: the victim gets every write that much later.
    `cut_at_s`: close every stream at that moment.
    `refuse_submissions`: numbers of submissions answered 503 and not applied.
    `refuse_from`, `refuse_status`: from this number on every submission is answered so.
    `slow_from_s`: from then on each answer takes as long again as has passed since, five times.
    `die_at_s`: the process ends without a word.
    """

    stall_at_s: float = -1.0
    stall_s: float = 0.0
    lose_submissions: frozenset[int] = frozenset()
    double_submissions: frozenset[int] = frozenset()
    lose_answers: frozenset[int] = frozenset()
    refuse_submissions: frozenset[int] = frozenset()
    lose_events: frozenset[int] = frozenset()
    duplicate_events: frozenset[int] = frozenset()
    swap_events: frozenset[int] = frozenset()
    garble_events: frozenset[int] = frozenset()
    victim: int = 0
    slow_listener_s: float = 0.0
    cut_at_s: float = -1.0
    refuse_from: int = -1
    refuse_status: int = 503
    slow_from_s: float = -1.0
    die_at_s: float = -1.0


@dataclass(eq=False)
class Stream:
    """One listener's connection."""

    number: int
    transport: asyncio.Transport


class NullServer:
    """The board, its listeners and its faults. Runs on one event loop.

    `service_s` delays each answer; `tick_s` is the interval between writes to listeners.
    """

    def __init__(
        self, *, users: int, tick_s: float = 0.02, service_s: float = 0.0, faults: Faults
    ) -> None:
        self.names = ["", "Alice", "Bob", *(f"User{n:05d}" for n in range(3, users + 1))]
        self.scores = [0] * (users + 1)
        if users >= 2:
            self.scores[1], self.scores[2] = 1500, 1400
        self.tick_s = tick_s
        self.service_s = service_s
        self.faults = faults
        self.seq = 0
        self.told = 0
        self.submissions = 0
        self.first_submission_s: float | None = None
        self.keys: dict[bytes, bytes] = {}
        self.changes: list[Change] = []
        self.streams: list[Stream] = []
        self.stream_count = 0
        self._cut = False
        self._last_write_s = time.monotonic()
        self._random = random.Random(1)

    # Submissions

    def submit(self, body: bytes, key: bytes | None) -> tuple[bytes, bool]:
        """Apply a submission; returns the answer, and whether to cut the connection instead."""
        if 0 <= self.faults.refuse_from <= self.submissions:
            # As a token is: before the body is looked at.
            return answered(b"%d Refused" % self.faults.refuse_status, b"{}"), False
        fields = json.loads(body)
        user, increment = int(fields["userId"]), int(fields["increment"])
        if not 0 < user < len(self.scores):
            raise ValueError("no such user")
        if key is not None and key in self.keys:
            return self.keys[key], False
        number = self.submissions
        self.submissions += 1
        if self.first_submission_s is None:
            self.first_submission_s = time.monotonic()
        if number in self.faults.refuse_submissions:
            return UNAVAILABLE, False
        identifier = uuid.UUID(int=self._random.getrandbits(128), version=4)
        answer = accepted(str(identifier))
        if key is not None:
            self.keys[key] = answer
        if number not in self.faults.lose_submissions:
            self._apply(user, increment)
        if number in self.faults.double_submissions:
            self._apply(user, increment)
        return answer, number in self.faults.lose_answers

    def _apply(self, user: int, increment: int) -> None:
        self.seq += 1
        self.scores[user] += increment
        self.changes.append(
            Change(
                seq=self.seq,
                user_id=user,
                name=self.names[user],
                score=self.scores[user],
                committed_us=time.time_ns() // 1000,
            )
        )
        if len(self.changes) > 2 * RING_CHANGES:
            del self.changes[:RING_CHANGES]

    def page(self, limit: int, offset: int) -> bytes:
        """The answer to GET /scores."""
        order = sorted(range(1, len(self.scores)), key=lambda user: (-self.scores[user], user))
        rows = [
            {"user": self.names[user], "score": self.scores[user]}
            for user in order[offset : offset + limit]
        ]
        return answered(
            b"200 OK",
            json.dumps(rows, separators=(",", ":")).encode(),
            extra=b"%b: %d\r\n" % (contract.SEQ_HEADER.encode(), self.seq),
        )

    # Stalls

    @property
    def age_s(self) -> float:
        """Seconds since the first submission, -1 before it."""
        begun = self.first_submission_s
        return -1.0 if begun is None else time.monotonic() - begun

    def stalled_for(self) -> float:
        """Seconds left of a planted stall, 0 when there is none."""
        begin, end = self.faults.stall_at_s, self.faults.stall_at_s + self.faults.stall_s
        return end - self.age_s if 0 <= begin <= self.age_s < end else 0.0

    def slowed_by(self) -> float:
        """Seconds that an answer takes longer on a server that slows to a stop."""
        begin = self.faults.slow_from_s
        return SLOWING * (self.age_s - begin) if 0 <= begin < self.age_s else 0.0

    # Listeners

    def open_stream(self, transport: asyncio.Transport, last_event_id: int | None) -> Stream:
        """Add a listener and send the start of its stream."""
        stream = Stream(self.stream_count, transport)
        self.stream_count += 1
        since = self.told if last_event_id is None else last_event_id
        payload = encode_hello(since)
        oldest = self.changes[0].seq if self.changes else self.seq + 1
        if since > self.told or since + 1 < oldest:
            payload += encode_snapshot("reset", self._snapshot())
        elif since < self.told:
            payload += encode_updates(self.changes[since + 1 - oldest : self.told + 1 - oldest])
        transport.write(STREAM_HEAD + chunk(payload))
        self.streams.append(stream)
        return stream

    def _snapshot(self) -> Snapshot:
        state = list(self.scores)
        for change in reversed(self.changes):
            if change.seq <= self.told:
                break
            state[change.user_id] = change.score
        order = sorted(range(1, len(state)), key=lambda user: (-state[user], user))[:10]
        return Snapshot(
            seq=self.told,
            scores=[Standing(user=self.names[u], score=state[u]) for u in order],
        )

    async def broadcast(self) -> None:
        """Send new changes to every listener, once per tick, until cancelled."""
        while True:
            await asyncio.sleep(self.tick_s)
            if 0 <= self.faults.die_at_s < self.age_s:
                signal.raise_signal(signal.SIGKILL)
            stall = self.stalled_for()
            if stall:
                await asyncio.sleep(stall)
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        self.streams = [s for s in self.streams if not s.transport.is_closing()]
        if 0 <= self.faults.cut_at_s <= self.age_s and not self._cut:
            self._cut = True
            for stream in self.streams:
                stream.transport.abort()
            self.streams.clear()
        if self.told == self.seq:
            if now - self._last_write_s > HEARTBEAT_S:
                self._last_write_s = now
                for stream in self.streams:
                    stream.transport.write(chunk(b":\n\n"))
            return
        fresh = self.changes[self.told - self.seq :]
        self.told = self.seq
        self._last_write_s = now
        data = chunk(encode_updates(fresh))
        victim_data = self._spoiled(fresh)
        loop = asyncio.get_running_loop()
        for stream in self.streams:
            if stream.number != self.faults.victim:
                stream.transport.write(data)
            elif self.faults.slow_listener_s:
                loop.call_later(
                    self.faults.slow_listener_s, _write_late, stream.transport, victim_data
                )
            else:
                stream.transport.write(victim_data)

    def _spoiled(self, fresh: list[Change]) -> bytes:
        faults = self.faults
        if not (
            faults.lose_events
            or faults.duplicate_events
            or faults.swap_events
            or faults.garble_events
        ):
            return chunk(encode_updates(fresh))
        out: list[Change] = []
        for change in fresh:
            if change.seq in faults.lose_events:
                continue
            if change.seq in faults.garble_events:
                change = msgspec.structs.replace(change, score=change.score + 1)
            out.append(change)
            if change.seq in faults.duplicate_events:
                out.append(change)
        for position in range(len(out) - 1):
            if out[position].seq in faults.swap_events:
                out[position], out[position + 1] = out[position + 1], out[position]
                break
        # An empty chunk would end the stream.
        return chunk(encode_updates(out)) if out else b""


def _write_late(transport: asyncio.Transport, data: bytes) -> None:
    if not transport.is_closing():
        transport.write(data)


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def answered(status: bytes, body: bytes, *, extra: bytes = b"") -> bytes:
    """A whole answer with a JSON body."""
    return b"HTTP/1.1 %b\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        extra,
        len(body),
        body,
    )


def accepted(identifier: str) -> bytes:
    """The 202 of a submission."""
    return answered(
        b"202 Accepted",
        b'{"message":"%b","submissionId":"%b"}'
        % (contract.ACCEPTED_MESSAGE.encode(), identifier.encode()),
    )


UNAVAILABLE = answered(b"503 Service Unavailable", b'{"code":"unavailable"}')
NOT_FOUND = answered(b"404 Not Found", b'{"code":"not_found"}')
MALFORMED = answered(b"400 Bad Request", b'{"code":"malformed"}')
READY = answered(b"200 OK", b'{"ready":true}')


class Protocol(asyncio.Protocol):
    """One connection: sequential requests, or one stream."""

    def __init__(self, server: NullServer) -> None:
        self._server = server
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport but not the base class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        while data:
            head_end = data.find(b"\r\n\r\n")
            if head_end < 0:
                break
            head = data[:head_end]
            marker = head.lower().find(b"content-length:")
            size = 0
            if marker >= 0:
                stop = head.find(b"\r\n", marker)
                size = int(head[marker + 15 : stop if stop >= 0 else None])
            total = head_end + 4 + size
            if len(data) < total:
                break
            self._request(head, data[head_end + 4 : total])
            data = data[total:]
        self._buffer = data

    def _request(self, head: bytes, body: bytes) -> None:
        server = self._server
        if head.startswith(b"POST /scores/update "):
            try:
                answer, cut = server.submit(body, field_of(head, b"idempotency-key"))
            except (ValueError, KeyError, IndexError, TypeError):
                answer, cut = MALFORMED, False
            if cut:
                self._transport.abort()
                return
            self._write(answer)
        elif head.startswith(b"GET /scores/stream"):
            last = field_of(head, b"last-event-id")
            server.open_stream(self._transport, int(last) if last else None)
        elif head.startswith(b"GET /scores"):
            query = head.split(b" ", 2)[1].partition(b"?")[2].decode()
            values = dict(part.split("=", 1) for part in query.split("&") if "=" in part)
            self._write(server.page(int(values.get("limit", "10")), int(values.get("offset", "0"))))
        elif head.startswith((b"GET /readyz", b"GET /healthz")):
            self._write(READY)
        else:
            self._write(NOT_FOUND)

    def _write(self, answer: bytes) -> None:
        server = self._server
        delay = server.stalled_for() + server.slowed_by() + server.service_s
        if delay:
            asyncio.get_running_loop().call_later(delay, _write_late, self._transport, answer)
        else:
            self._transport.write(answer)


def field_of(head: bytes, name: bytes) -> bytes | None:
    """A header's value in a request head, None when it is not there."""
    start = head.lower().find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip()


async def serve(server: NullServer, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Prints the base URL on one line when it listens."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listening = await loop.create_server(lambda: Protocol(server), host, port, backlog=4096)
    address = listening.sockets[0].getsockname()
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    print(f"http://{host}:{address[1]}", flush=True)
    broadcast = asyncio.create_task(server.broadcast())
    await stop.wait()
    broadcast.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await broadcast
    listening.close()
