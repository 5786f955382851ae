"""A machine that refuses a file or a process for a while does not end the supervision of others."""

import asyncio
import errno
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from stack.console import Console
from stack.process import spawn
from stack.services import start
from stack.settings import StackSettings
from stack.state import write_state
from stack.supervision.supervisor import Supervisor
from stack.supervision.unit import Unit
from tests.support.eventually import eventually


class Runs:
    """A program that answers at once and runs until it is killed."""

    name = "worker"

    def command(self, port: int) -> list[str]:
        del port
        return [sys.executable, "-c", "import signal; signal.pause()"]

    def environment(self) -> None:
        return None

    async def answers(self, port: int, pid: int) -> bool:
        del port, pid
        return True


class Refusing:
    """Raises an error for as long as it is told to, then does what it stands for."""

    def __init__(self, original: Any, error: OSError) -> None:
        self.original, self.error = original, error
        self.refuses = False
        self.refused = 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self.refuses:
            self.refused += 1
            raise self.error
        return self.original(*args, **options)


def supervised(folder: Path) -> tuple[Supervisor, Unit, io.StringIO]:
    shown = io.StringIO()
    supervisor = Supervisor(StackSettings(data_dir=folder), Console(shown))
    unit = supervisor.units["worker"] = Unit(Runs(), 0)
    return supervisor, unit, shown


def kill(unit: Unit) -> None:
    assert unit.process is not None
    unit.process.kill()


async def test_a_full_disk_is_said_once_and_the_process_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Refusing(write_state, OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr("stack.supervision.supervisor.write_state", disk)
    supervisor, unit, shown = supervised(tmp_path)
    await supervisor.launch(unit)

    disk.refuses = True
    kill(unit)
    await eventually(lambda: "worker is back" in shown.getvalue())

    assert disk.refused > 1
    assert shown.getvalue().count("No space left on device") == 1
    disk.refuses = False
    kill(unit)
    await eventually(lambda: shown.getvalue().count("worker is back") == 2)
    assert supervisor.folder.state.exists()
    await supervisor._stop_all()


async def test_a_machine_without_room_for_a_process_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = Refusing(spawn, OSError(errno.EAGAIN, "Resource temporarily unavailable"))
    monkeypatch.setattr("stack.services.launch.spawn", fork)
    supervisor, unit, shown = supervised(tmp_path)
    await supervisor.launch(unit)

    fork.refuses = True
    kill(unit)
    await eventually(lambda: fork.refused > 0)
    fork.refuses = False
    await eventually(lambda: "worker is back" in shown.getvalue())

    assert "worker did not come back: [Errno 11]" in shown.getvalue()
    await supervisor._stop_all()


async def test_a_process_that_nobody_could_note_down_does_not_live_on(tmp_path: Path) -> None:
    spawned = []

    def note(process: Any, port: int) -> None:
        del port
        spawned.append(process)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await start(Runs(), log=tmp_path / "log", port=0, on_spawn=note)

    await asyncio.wait_for(spawned[0].ended(), 5)
