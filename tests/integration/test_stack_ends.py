"""However the stack ends, no process is left over and no data is lost."""

import os
import signal
from pathlib import Path

from tests.support.eventually import eventually_sync
from tests.support.services import execute_sync
from tests.support.stack_run import stack_run, still_running


def test_ctrl_c_ends_everything_within_ten_seconds_and_keeps_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with stack_run(data) as run:
        run.until_ready()
        first = run.state
        execute_sync(first["urls"]["mysql"], "CREATE TABLE kept (n INT)")
        execute_sync(first["urls"]["mysql"], "INSERT INTO kept VALUES (7)")
        pids = run.pids

        elapsed_s = run.interrupt()

        assert run.popen.returncode == 0
        assert elapsed_s < 10
        assert len(pids) >= 5
        assert still_running(pids) == []
        assert not (data / "state.json").exists()
        assert not (data / "control.sock").exists()

    with stack_run(data) as again:
        again.until_ready()
        assert execute_sync(again.state["urls"]["mysql"], "SELECT n FROM kept") == ((7,),)
        assert again.state["urls"] == first["urls"]


def test_ctrl_c_during_start_up_ends_everything_too(tmp_path: Path) -> None:
    with stack_run(tmp_path / "data") as run:
        eventually_sync(lambda: len(run.pids) > 0, timeout_s=20, interval_s=0.01)
        pids = run.pids

        elapsed_s = run.interrupt()

        assert run.popen.returncode == 0
        assert elapsed_s < 10
        assert still_running(pids) == []
        assert "Traceback" not in run.output.read_text()


def test_a_killed_supervisor_leaves_nothing_and_the_next_one_starts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with stack_run(data) as run:
        run.until_ready()
        pids = run.pids
        # A frozen child cannot hear that its parent died; the next start must end it.
        frozen = run.state["processes"]["redis"]["pid"]
        os.kill(frozen, signal.SIGSTOP)
        run.popen.kill()
        run.popen.wait()
        eventually_sync(lambda: still_running(pids) == [frozen], timeout_s=15)

    with stack_run(data) as again:
        again.until_ready()
        assert still_running(pids) == []
