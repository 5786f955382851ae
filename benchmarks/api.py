"""What is timed of the API process: the pure steps of a request, and a broadcast.

The broadcast writes to stand-ins for sockets, so it times what the hub adds to
the kernel's work. For whole requests and real sockets see `peers`.
"""

import asyncio
import itertools
import weakref

from benchmarks.core import NOW_S, SECRET, Case, Prepared
from scoreboard import sse, tokens
from scoreboard.domain import Change, Standing
from scoreboard.keys import Keyring, shared_secret
from server.auth.bearer import Authenticator
from server.board.position import BoardPosition
from server.http.head import is_valid_head
from server.stream.hub import Hub
from server.stream.ring import Ring
from server.submit.body import Update, parse_update

CHANGES = 50

HEAD = (
    b"POST /scores/update HTTP/1.1\r\nHost: localhost:3000\r\nUser-Agent: benchmark\r\n"
    b"Accept: */*\r\nAuthorization: Bearer " + b"x" * 220 + b"\r\n"
    b"Content-Type: application/json\r\nContent-Length: 28"
)


class _Wire(asyncio.Transport):
    """Takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.received = 0

    def write(self, data: "bytes | bytearray | memoryview") -> None:
        self.received += len(data)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        del protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def is_closing(self) -> bool:
        return False


def _changes(size: int) -> list[Change]:
    return [
        Change(seq=n, user_id=n, name=f"User{n:05d}", score=n, committed_us=NOW_S * 1_000_000)
        for n in range(1, size + 1)
    ]


async def _snapshot(at_least: int) -> sse.Snapshot:
    return sse.Snapshot(seq=at_least, scores=[Standing(user="Alice", score=1)])


def _listen_and_broadcast(size: int) -> Prepared:
    """`size` listeners come, and get 50 changes in one write each."""
    loop = asyncio.new_event_loop()

    async def once() -> list[int]:
        written: list[int] = []
        hub = Hub(
            _snapshot,
            position=BoardPosition(),
            on_written=lambda *_told: written.append(1),
            listeners_max=size,
            history_changes=CHANGES,
            tick_max_s=0.1,
            heartbeat_s=3600.0,
            lagging_max_s=3600.0,
            # A tenth of a slice passes with each look: as many turns on any machine.
            clock=itertools.count(0.0, 0.0001).__next__,
        )
        hub.begin(0, [])
        wires = [_Wire() for _ in range(size)]
        for wire in wires:
            opening, cursor = await hub.opening(None, snapshot=False)
            hub.attach(wire, b"", opening, cursor)
        running = asyncio.create_task(hub.run())
        hub.take(changes)
        # Each turn of the loop is one of the broadcaster's; an event would cost one more.
        while not written:  # noqa: ASYNC110
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        return [wire.received for wire in wires]

    changes = _changes(CHANGES)

    def work() -> list[int]:
        return loop.run_until_complete(once())

    # The loop lives as long as the work does.
    weakref.finalize(work, loop.close)

    def check(received: list[int]) -> None:
        assert len(received) == size
        assert set(received) == {received[0]}
        assert received[0] > len(sse.encode_updates(_changes(CHANGES)))

    return work, check


def _continue(size: int) -> Prepared:
    """A listener that comes back in the middle of `size` changes."""
    ring = Ring(0, max_changes=10**6, max_bytes=10**9)
    changes = _changes(size)
    for start in range(0, size, 7):
        ring.append(changes[start : start + 7])

    def check(pieces: list[tuple[bytes, int]]) -> None:
        assert pieces[-1][1] == size

    return lambda: list(ring.after(size // 2)), check


def _bodies(size: int) -> Prepared:
    bodies = [b'{"userId":%d,"increment":%d}' % (n, n) for n in range(1, size + 1)]

    def check(updates: list[Update]) -> None:
        assert updates == [Update(n, n) for n in range(1, size + 1)]

    return lambda: [parse_update("application/json", body) for body in bodies], check


def _heads(size: int) -> Prepared:
    def check(valid: list[bool]) -> None:
        assert valid == [True] * size

    return lambda: [is_valid_head(HEAD) for _ in range(size)], check


def _principals(size: int) -> Prepared:
    """Tokens that have been seen before."""
    known = Authenticator(Keyring(secret=shared_secret(SECRET)), clock=lambda: NOW_S)
    fields = [
        f"Bearer {tokens.mint(SECRET, subject=str(n), now_s=NOW_S, ttl_s=60)}" for n in range(size)
    ]
    for field in fields:
        known.principal([field])

    def check(principals: list[tokens.Principal]) -> None:
        assert [principal.subject for principal in principals] == [str(n) for n in range(size)]

    return lambda: [known.principal([field]) for field in fields], check


CASES = [
    Case(name="broadcast_50_changes_1000_listeners", size=1000, prepare=_listen_and_broadcast),
    Case(name="continue_10000_changes", size=10_000, prepare=_continue),
    Case(name="body_parse_500", size=500, prepare=_bodies),
    Case(name="head_check_500", size=500, prepare=_heads),
    Case(name="known_token_500", size=500, prepare=_principals),
]
