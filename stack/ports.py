"""Chooses TCP ports on 127.0.0.1 and remembers them in the data folder.

No choice is a reservation: another program may take the port before the service binds it. So
callers start the service and, when it reports the address as taken, ask again.
"""

import contextlib
import errno
import json
import random
import socket
from pathlib import Path

from scoreboard.addresses import OWN_PORTS
from stack.errors import PortRefused

HOST = "127.0.0.1"
_TRIES = 1000


def own_ports() -> list[int]:
    """Ports of ours, to be tried in this order until one is free."""
    # Not from a seed: two processes with equal seeds would try the same ones.
    return random.SystemRandom().sample(OWN_PORTS, _TRIES)


def free_port() -> int:
    """A port that is free at this moment. Raises OSError when there is none."""
    for port in own_ports():
        if is_free(port):
            return port
    raise OSError(errno.EADDRINUSE, "no port is free")


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a listener could bind `port` now; a port in TIME_WAIT counts as free.

    Raises PortRefused when it could not even if nobody else had it.
    """
    # As the server binds.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise PortRefused(host, port, error.strerror or type(error).__name__) from None
        return True


class PortBook:
    """The ports used last time, so that a restart keeps its addresses where they are free."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ports: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError):
            stored = json.loads(path.read_text("utf-8"))
            self._ports = {str(name): int(port) for name, port in stored.items()}

    def choose(self, name: str) -> int:
        """The remembered port when free, else a fresh one. Not written before `remember`."""
        remembered = self._ports.get(name)
        return remembered if remembered is not None and is_free(remembered) else free_port()

    def remember(self, name: str, port: int) -> None:
        self._ports[name] = port
        self._path.write_text(json.dumps(self._ports, indent=1) + "\n", "utf-8")
