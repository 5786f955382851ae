"""What a program of the stack tells about itself, and what the services with data share."""

import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

PROBE_TIMEOUT_S = 2.0


class Program(Protocol):
    """What `start` needs to know to run something and see it answer. Port 0 means it has none."""

    name: str

    def command(self, port: int) -> list[str]:
        """The command that serves on `port` in the foreground."""

    def environment(self) -> Mapping[str, str] | None:
        """Its whole environment; None hands on this process's own."""

    async def answers(self, port: int, pid: int) -> bool:
        """Whether process `pid` does real work on `port` now; False on any failure."""


class Service(Program, Protocol):
    """A service with data of its own."""

    folder: Path

    async def prepare(self) -> None:
        """Makes the data folder ready; safe to repeat, one at a time. Call it in the main thread.

        Raises StartFailed. Cancelled, it leaves no process behind.
        """

    def wipe(self) -> None:
        """Forgets all data. The service must not run. Blocks."""

    def url(self, port: int) -> str:
        """The address to hand to a client, with credentials where it needs them."""


class Private:
    """What the private services share: a folder, and nothing special in their environment.

    `stop_signal` asks them to end.
    """

    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def environment(self) -> Mapping[str, str] | None:
        return None

    def wipe(self) -> None:
        """Forgets all data. The service must not run. Blocks."""
        shutil.rmtree(self.folder, ignore_errors=True)
