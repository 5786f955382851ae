"""A process that holds N listeners open and counts what reaches each. Commands in, JSON out.

    python -m benchmarks.peers.count_listeners PORT LISTENERS [CONNECT_PER_S]

Prints a line when all streams are open; then answers each line on stdin with
`{"total":…,"least":…,"most":…,"open":…,"reads":…}`. An event is counted by its one `{`,
which no cut between two reads can split, so every peer's framing is counted the
same cheap way. It does not check content: `harness.engines.swarm` does, for ours.
"""

import json
import os
import select
import socket
import sys
import time
from array import array

from harness.net.sockets import raise_descriptor_limit
from scoreboard.contract import STREAM_PATH

HOST = "127.0.0.1"
PER_SOURCE = 20_000
CONNECT_AT_ONCE = 200
_RECEIVE_BYTES = 1 << 20


class Listeners:
    """The streams and their counts."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._poller = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._index: dict[int, int] = {}
        self._waiting: set[int] = set()
        self.counts = array("q", bytes(8 * count))
        self.reads = 0
        # One for all: a new one for each read costs more than the read.
        self._buffer = bytearray(_RECEIVE_BYTES)

    def open(self, count: int) -> None:
        """Open all streams, CONNECT_AT_ONCE at a time. Raises RuntimeError when one is refused."""
        raise_descriptor_limit()
        request = (
            f"GET {STREAM_PATH} HTTP/1.1\r\nHost: {HOST}:{self._port}\r\n"
            "Accept: text/event-stream\r\n\r\n"
        ).encode()
        for first in range(0, count, CONNECT_AT_ONCE):
            for number in range(first, min(first + CONNECT_AT_ONCE, count)):
                source = (f"127.0.0.{2 + number // PER_SOURCE}", 0)
                opened = socket.create_connection((HOST, self._port), source_address=source)
                opened.sendall(request)
                opened.setblocking(False)
                fd = opened.fileno()
                self._sockets[fd] = opened
                self._index[fd] = number
                self._waiting.add(fd)
                self._poller.register(fd, select.EPOLLIN)
            deadline = time.monotonic() + 30
            while self._waiting:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{len(self._waiting)} streams did not open")
                self.pump(0.1)

    def pump(self, timeout_s: float, also: int | None = None) -> bool:
        """Read what is there; whether the descriptor `also` is readable."""
        signalled = False
        counts, index, sockets, waiting = self.counts, self._index, self._sockets, self._waiting
        buffer, reads = self._buffer, 0
        for fd, _ in self._poller.poll(timeout_s):
            if fd == also:
                signalled = True
                continue
            try:
                size = sockets[fd].recv_into(buffer)
            except BlockingIOError:
                continue
            except ConnectionError:
                size = 0
            if not size:
                self._poller.unregister(fd)
                sockets.pop(fd).close()
                continue
            if fd in waiting:
                if not buffer.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"refused: {bytes(buffer[:80])!r}")
                waiting.discard(fd)
            counts[index[fd]] += buffer.count(b"{", 0, size)
            reads += 1
        self.reads += reads
        return signalled

    def serve(self) -> None:
        """Count until stdin ends."""
        stdin = sys.stdin.fileno()
        os.set_blocking(stdin, False)
        self._poller.register(stdin, select.EPOLLIN)
        while True:
            if not self.pump(1.0, stdin):
                continue
            asked = os.read(stdin, 4096)
            if not asked:
                return
            for _ in range(asked.count(b"\n")):
                answer = {
                    "total": sum(self.counts),
                    "least": min(self.counts),
                    "most": max(self.counts),
                    "open": len(self._sockets),
                    "reads": self.reads,
                }
                print(json.dumps(answer), flush=True)


def main() -> int:
    """Open, say so, count."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    listeners = Listeners(port, count)
    listeners.open(count)
    print(json.dumps({"open": count}), flush=True)
    listeners.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
