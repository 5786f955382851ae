"""One reader of the stack's state file: what it makes of any content."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from scoreboard_cli.running_stack import data_folder, read_state, ready_state


@pytest.mark.parametrize("content", [None, "", "[]", "5", '{"torn', "\x00"])
def test_file_that_is_no_state_is_no_stack(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "state.json").write_text(content, "utf-8")

    assert read_state(tmp_path) == {}
    assert ready_state(tmp_path) is None


@pytest.mark.parametrize(
    ("state", "ready"),
    [
        ({"ready": True, "supervisor_pid": os.getpid()}, True),
        ({"ready": False, "supervisor_pid": os.getpid()}, False),
        ({"ready": True, "supervisor_pid": 1 << 30}, False),
        ({"ready": True}, False),
    ],
)
def test_stack_is_ready_while_its_supervisor_runs(
    tmp_path: Path, state: dict[str, Any], ready: bool
) -> None:
    (tmp_path / "state.json").write_text(json.dumps(state), "utf-8")

    assert read_state(tmp_path) == state
    assert ready_state(tmp_path) == (state if ready else None)


def test_data_folder_is_the_variables_or_that_of_the_checkout(tmp_path: Path) -> None:
    assert data_folder({}, tmp_path) == tmp_path / ".scoreboard"
    assert data_folder({"SCOREBOARD_DATA_DIR": "/data"}, tmp_path) == Path("/data")
