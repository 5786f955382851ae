"""The state file of `scoreboard up`, by which every command finds the stack of this checkout.

The supervisor writes it whole at each change (`stack.state`); here it is read.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "state.json"


def data_folder(environ: Mapping[str, str], folder: Path) -> Path:
    """The data folder of a stack that was started in `folder`."""
    return Path(environ.get("SCOREBOARD_DATA_DIR") or folder / ".scoreboard")


def read_state(data: Path) -> dict[str, Any]:
    """What the state file in a data folder says; empty where there is none that can be read."""
    try:
        state = json.loads((data / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def ready_state(data: Path) -> dict[str, Any] | None:
    """The state of a stack that is ready, whose supervisor still runs; else None."""
    state = read_state(data)
    alive = Path(f"/proc/{state.get('supervisor_pid')}").exists()
    return state if state.get("ready") and alive else None
