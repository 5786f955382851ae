"""Ports for programs that must be told theirs before they bind it.

Below those that the kernel hands out by itself, so that no connection of another program takes one
between the choice and the bind; locked in a file, so that no other test process chooses the same.
Programs that can bind port 0 and say what they got need none of this.
"""

import fcntl
import os
import tempfile
from pathlib import Path

from stack.ports import is_free, own_ports


def reserved_port() -> int:
    """A port on 127.0.0.1 that is free and stays so until this process ends."""
    folder = Path(tempfile.gettempdir(), f"scoreboard-test-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for port in own_ports():
        # Left open: the lock lasts as long as this process.
        lock = os.open(folder / str(port), os.O_WRONLY | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        if is_free(port):
            return port
        os.close(lock)
    raise RuntimeError("no port is free")
