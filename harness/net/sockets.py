"""Operating system services for engines: connections, descriptor limit, CPU priority."""

import _socket
import contextlib
import errno
import os
import random
import resource
import socket
from pathlib import Path
from typing import Any

from scoreboard.addresses import OWN_PORTS

NICENESS = -10
SO_TIMESTAMPNS = 35
PORTS_PER_SOURCE = 20_000
"""One source address has about 28,000 ephemeral ports per server."""


ANSWER_TIMEOUT_S = 2.0
"""How long an address may take to accept a connection before the next one is tried."""


def resolve(address: tuple[str, int]) -> tuple[int, tuple[str, int]]:
    """Family and numeric address, IPv4 first. Raises OSError when the name is unknown.

    Of a name with addresses of both families, the first that accepts a connection.
    """
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    # "localhost" often names ::1 first while servers bind to 127.0.0.1 only, or to ::1 alone.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    chosen = found[0]
    if chosen[0] != found[-1][0]:
        chosen = next((entry for entry in found if _accepts(entry[0], entry[4])), chosen)
    family, _, _, _, target = chosen
    return family, (str(target[0]), int(target[1]))


def _accepts(family: int, target: tuple[Any, ...]) -> bool:
    # A machine may know names of a family that it has no sockets for.
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.settimeout(ANSWER_TIMEOUT_S)
        return tried.connect_ex(target) == 0
    return False


class Dialer:
    """Begins connections to one server without waiting, also more than one address has ports for.

    Raises OSError when the server's name is unknown. With `kernel_stamps` the kernel notes when
    each packet arrived. `receive_bytes` is what it keeps for a reader that does not read.
    """

    def __init__(
        self, address: tuple[str, int], *, kernel_stamps: bool, receive_bytes: int = 0
    ) -> None:
        self._family, self._target = resolve(address)
        self._rotate = self._family == socket.AF_INET and self._target[0].startswith("127.")
        self._kernel_stamps = kernel_stamps
        self._receive_bytes = receive_bytes

    def dial(self, number: int) -> _socket.socket | None:
        """The socket of connection `number`, which is being established; None when refused."""
        sock = _socket.socket(
            self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        if self._rotate and number >= PORTS_PER_SOURCE:
            sock.bind((f"127.0.0.{2 + number // PORTS_PER_SOURCE % 250}", 0))
        if self._kernel_stamps:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if self._receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
        if sock.connect_ex(self._target) in (0, errno.EINPROGRESS):
            return sock
        sock.close()
        return None


def raise_descriptor_limit() -> int:
    """Allow as many open descriptors as the hard limit does; returns that number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def prefer_this_process() -> None:
    """Raise this process's CPU priority above the server's, where the system allows it.

    A sender needs little CPU time but needs it on time: its scheduler lag would pass for the
    server's latency.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    # With autogroups a nice value counts within its session only, so change the session's too.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS), "utf-8")


def free_ports(count: int) -> list[int]:
    """Distinct ports on 127.0.0.1 that are free now: each is held until the last is known.

    Raises OSError when there are not so many.
    """
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        for port in random.SystemRandom().sample(OWN_PORTS, 1000):
            probe = held.enter_context(contextlib.closing(_socket.socket()))
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                ports.append(port)
            if len(ports) == count:
                return ports
    raise OSError(errno.EADDRINUSE, "no port is free")
