"""Operating system services for engines: name resolution, descriptor limit, CPU priority."""

import contextlib
import os
import resource
import socket
from pathlib import Path

NICENESS = -10


def resolve(address: tuple[str, int]) -> tuple[int, tuple[str, int]]:
    """Family and numeric address, IPv4 first. Raises OSError when the name is unknown."""
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    # "localhost" often names ::1 first while servers bind to 127.0.0.1 only.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, target = found[0]
    return family, (str(target[0]), int(target[1]))


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
