"""`python -m harness.lab.cable`: a cable that is slow, lossy, or delivers in another order.

Takes a host's cable out of the switch and stands between the two: every frame passes this program,
which delays, drops, duplicates or overtakes it. For kernels without `netem`, which does the same.
Counts to stdout when it ends; SIGTERM ends it.
"""

import ctypes
import fcntl
import heapq
import random
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter

from harness.lab.network import enter, run

LINK = ("ip", "link")
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_FRAME_MAX = 1 << 16


def _checksums_in_software(device: str, *, on: bool) -> None:
    """Make the kernel fill in checksums and cut segments itself: a frame that leaves its world
    must be whole."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        value = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_STXCSUM, 0 if on else 1))
        request = struct.pack("16sP", device.encode(), ctypes.addressof(value))
        fcntl.ioctl(link, _SIOCETHTOOL, request)


def _opened(device: str) -> socket.socket:
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    link.bind((device, 3))
    link.setblocking(False)
    return link


def main() -> int:
    """`cable PREFIX HOST DELAY_MS JITTER_MS LOSS DUPLICATED`."""
    prefix, host = sys.argv[1:3]
    delay_ms, jitter_ms, loss, duplicated = map(float, sys.argv[3:7])
    switch = f"{prefix}-switch"
    enter(f"{prefix}-{host}")
    _checksums_in_software("eth0", on=True)
    enter(switch)
    here, there = f"{host}.a", f"{host}.b"
    run(*LINK, "add", here, "type", "veth", "peer", "name", there)
    _checksums_in_software(here, on=True)
    run(*LINK, "set", there, "up")
    run(*LINK, "set", here, "master", "br0", "up")
    run(*LINK, "set", host, "nomaster")
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    counts = _relay(
        (_opened(host), _opened(there)),
        stopping,
        delay_s=delay_ms / 1000,
        jitter_s=jitter_ms / 1000,
        loss=loss,
        duplicated=duplicated,
    )
    run(*LINK, "set", host, "master", "br0")
    run(*LINK, "delete", here)
    enter(f"{prefix}-{host}")
    _checksums_in_software("eth0", on=False)
    print(" ".join(f"{name}={count}" for name, count in sorted(counts.items())), flush=True)
    return 0


def _relay(
    ends: tuple[socket.socket, socket.socket],
    stopping: list[int],
    *,
    delay_s: float,
    jitter_s: float,
    loss: float,
    duplicated: float,
) -> Counter[str]:
    counts: Counter[str] = Counter()
    waiting: list[tuple[float, int, socket.socket, bytes]] = []
    number = newest = 0
    print("ready", flush=True)
    while not stopping:
        pause_s = 0.05
        if waiting:
            pause_s = min(pause_s, max(0.0, waiting[0][0] - time.monotonic()))
        readable, _, _ = select.select(ends, [], [], pause_s)
        for end in readable:
            other = ends[1] if end is ends[0] else ends[0]
            for _ in range(64):
                try:
                    frame, address = end.recvfrom(_FRAME_MAX)
                except BlockingIOError:
                    break
                if address[2] == socket.PACKET_OUTGOING:
                    continue
                counts["frames"] += 1
                if random.random() < loss:
                    counts["lost"] += 1
                    continue
                copies = 1
                if random.random() < duplicated:
                    counts["duplicated"] += 1
                    copies = 2
                for _ in range(copies):
                    number += 1
                    due = time.monotonic() + delay_s + random.random() * jitter_s
                    heapq.heappush(waiting, (due, number, other, frame))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, order, end, frame = heapq.heappop(waiting)
            counts["overtaken"] += order < newest
            newest = max(newest, order)
            try:
                end.send(frame)
            except OSError:
                counts["too_long"] += 1
    return counts


if __name__ == "__main__":
    sys.exit(main())
