"""A process that holds N listeners open and counts what reaches each. Commands in, JSON out.

    python -m benchmarks.peers.count_listeners PORT LISTENERS PATH

Prints a line when all streams are open; then answers each line on stdin with
`{"total":…,"least":…,"most":…,"open":…,"reads":…}`. An event is counted by the one `U` of
its user's name, which no cut between two reads can split, so every peer's framing is
counted the same cheap way. It does not check content: `harness.engines.swarm` does, for ours.
"""

import json
import select
import socket
import sys
from array import array

from benchmarks.peers.processes import answer_lines
from harness.engines.standalone import drive
from harness.net.sockets import raise_descriptor_limit
from stack.ports import HOST

PER_SOURCE = 20_000
CONNECT_AT_ONCE = 200
OPEN_TIMEOUT_S = 30.0
_RECEIVE_BYTES = 1 << 20


class Listeners:
    """The streams and their counts."""

    def __init__(self, port: int, count: int, path: str) -> None:
        self._port = port
        self._path = path
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
            f"GET {self._path} HTTP/1.1\r\nHost: {HOST}:{self._port}\r\n"
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
            if not drive([self], lambda: not self._waiting, timeout_s=OPEN_TIMEOUT_S):
                raise RuntimeError(f"{len(self._waiting)} streams did not open")

    def fileno(self) -> int:
        """Readable when `pump` has something to read."""
        return self._poller.fileno()

    def pump(self) -> None:
        """Read what is there."""
        counts, index, sockets, waiting = self.counts, self._index, self._sockets, self._waiting
        buffer, reads = self._buffer, 0
        for fd, _ in self._poller.poll(0):
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
            counts[index[fd]] += buffer.count(b"U", 0, size)
            reads += 1
        self.reads += reads

    def told(self, _line: str) -> dict[str, int]:
        """The counts so far, whatever the line asks."""
        return {
            "total": sum(self.counts),
            "least": min(self.counts),
            "most": max(self.counts),
            "open": len(self._sockets),
            "reads": self.reads,
        }


def main() -> None:
    """Open, say so, count."""
    port, count, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    listeners = Listeners(port, count, path)
    listeners.open(count)
    print(json.dumps({"open": count}), flush=True)
    answer_lines(listeners, listeners.told)


if __name__ == "__main__":
    main()
