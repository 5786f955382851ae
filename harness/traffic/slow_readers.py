"""Listeners that read slowly: so many bytes a second each, from small buffers. No judge of theirs.

They press on the server's queues, as phones on bad networks do. What they are sent is not looked
at; a server may cut them, which is counted and held against nobody.
"""

import contextlib
import time
from collections.abc import Callable

from harness.measure.series import Second, Series
from harness.net.http_wire import status_of
from harness.net.sockets import Dialer
from harness.net.tls import AnySocket, TlsSocket, Wrap

NS = 1_000_000_000
TURN_S = 0.1
BUFFER_BYTES = 4096
"""What the kernel is asked to keep of each stream: the rest waits with the server."""
OPENING_TIMEOUT_NS = 15 * NS
BACK_AFTER_NS = 2 * NS
"""As browsers do where a server does not say otherwise."""
ALLOWANCE_MAX_S = 1.0


class _Reader:
    """One listener: not connected, being connected, or reading."""

    __slots__ = ("allowance", "asked", "head", "since_ns", "sock", "streaming")

    def __init__(self) -> None:
        self.sock: AnySocket | None = None
        self.asked = False
        self.streaming = False
        self.head = b""
        self.since_ns = 0
        self.allowance = 0.0


class SlowReaders:
    """All of one process. Counters: slow_connects, slow_bytes, slow_cut (streams that the server
    ended) and slow_refused (connections and answers that became no stream)."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        listeners: int,
        bytes_per_s: int,
        request: Callable[[int], bytes],
        start_unix_ns: int,
        first_number: int = 0,
        wrap: Wrap | None = None,
    ) -> None:
        self.series = Series()
        self._bytes_per_s = bytes_per_s
        self._request = request
        self._start_unix_ns = start_unix_ns
        self._first_number = first_number
        self._wrap = wrap
        self._dialer = Dialer(address, kernel_stamps=False, receive_bytes=BUFFER_BYTES)
        self._readers = [_Reader() for _ in range(listeners)]
        self._last_ns = time.monotonic_ns()

    @property
    def streaming(self) -> int:
        """Streams that are open now."""
        return sum(reader.streaming for reader in self._readers)

    def turn(self) -> None:
        """Read what each one may since the last turn; about 5 µs each."""
        now = time.monotonic_ns()
        share = (now - self._last_ns) / NS * self._bytes_per_s
        self._last_ns = now
        most = max(1.0, self._bytes_per_s * ALLOWANCE_MAX_S)
        for index, reader in enumerate(self._readers):
            reader.allowance = min(most, reader.allowance + share)
            try:
                self._step(index, reader, now)
            except BlockingIOError:
                if not reader.streaming and now - reader.since_ns > OPENING_TIMEOUT_NS:
                    self._end(reader, now)
            except (OSError, ValueError):
                self._end(reader, now)

    def close(self) -> None:
        """Close every connection."""
        for reader in self._readers:
            if reader.sock is not None:
                reader.sock.close()
                reader.sock, reader.streaming = None, False

    def _step(self, index: int, reader: _Reader, now: int) -> None:
        if reader.sock is None:
            if now - reader.since_ns >= BACK_AFTER_NS or not reader.since_ns:
                self._open(index, reader, now)
            return
        if not reader.asked:
            self._ask(index, reader)
        allowed = int(reader.allowance)
        if allowed < 1:
            return
        data = reader.sock.recv(min(allowed, BUFFER_BYTES))
        if not data:
            raise ConnectionResetError
        reader.allowance -= len(data)
        self._second().counters["slow_bytes"] += len(data)
        if not reader.streaming:
            reader.head += data
            if len(reader.head) >= len(b"HTTP/1.1 200"):
                if status_of(reader.head) != 200:
                    raise ConnectionRefusedError
                reader.head, reader.streaming = b"", True
                self._second().counters["slow_connects"] += 1

    def _open(self, index: int, reader: _Reader, now: int) -> None:
        reader.since_ns = now
        sock = self._dialer.dial(self._first_number + index)
        if sock is None:
            raise ConnectionRefusedError
        reader.sock = sock if self._wrap is None else self._wrap(sock)

    def _ask(self, index: int, reader: _Reader) -> None:
        sock = reader.sock
        assert sock is not None
        if isinstance(sock, TlsSocket) and not sock.handshake():
            raise BlockingIOError
        sock.send(self._request(index))
        reader.asked = True

    def _end(self, reader: _Reader, now: int) -> None:
        self._second().counters["slow_cut" if reader.streaming else "slow_refused"] += 1
        if reader.sock is not None:
            with contextlib.suppress(OSError):
                reader.sock.close()
        reader.sock, reader.streaming, reader.asked, reader.head = None, False, False, b""
        reader.since_ns = now

    def _second(self) -> Second:
        return self.series.seconds[(time.time_ns() - self._start_unix_ns) // NS]
