"""A process that cannot stay up is started again with growing pauses, and then given up aloud."""

import asyncio
import io
import itertools
import sys
from pathlib import Path

import pytest

from stack.console import Console
from stack.settings import StackSettings
from stack.supervision import supervisor as supervisor_module
from stack.supervision.requests import Requests
from stack.supervision.supervisor import Supervisor
from stack.supervision.unit import Unit, restart_pause_s
from tests.support.eventually import eventually


class Doomed:
    """A program that answers, then ends with exit code 3."""

    name = "worker"

    def command(self, port: int) -> list[str]:
        del port
        return [sys.executable, "-c", "import sys, time; time.sleep(0.2); sys.exit(3)"]

    def environment(self) -> None:
        return None

    async def answers(self, port: int, pid: int) -> bool:
        del port, pid
        return True


def test_pauses_between_starts_grow_to_a_bound() -> None:
    pauses = [restart_pause_s(ends) for ends in range(20)]

    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert all(earlier <= later for earlier, later in itertools.pairwise(pauses))
    assert pauses[-1] == 5.0


async def test_a_process_that_keeps_ending_is_given_up_with_a_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "RESTARTS_IN_A_ROW_MAX", 3)
    shown = io.StringIO()
    supervisor = Supervisor(StackSettings(data_dir=tmp_path), Console(shown))
    unit = supervisor.units["worker"] = Unit(Doomed(), 0)

    await supervisor.launch(unit)
    await eventually(lambda: unit.condition == "failed", timeout_s=20)

    assert unit.restarts == 3
    assert "worker ended with exit code 3; starting it again" in shown.getvalue()
    assert "worker ended 3 times in a row and is given up; its log is" in shown.getvalue()
    assert shown.getvalue().count("starting it again") == 4


async def test_a_process_stopped_on_request_is_not_started_again(tmp_path: Path) -> None:
    shown = io.StringIO()
    supervisor = Supervisor(StackSettings(data_dir=tmp_path), Console(shown))
    unit = supervisor.units["worker"] = Unit(Doomed(), 0)
    await supervisor.launch(unit)

    await Requests(supervisor).handle({"op": "stop", "process": "worker"})
    # The watcher sees every end, so once it has finished, nothing will start the process.
    await asyncio.gather(*supervisor._watchers)

    assert (unit.condition, unit.pid, unit.restarts) == ("stopped", None, 0)
    assert "starting it again" not in shown.getvalue()
