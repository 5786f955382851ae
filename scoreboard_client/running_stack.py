"""Finds the stack that `make up` or `scoreboard up` runs from this folder, by its state file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from scoreboard_cli.running_stack import data_folder, ready_state


@dataclass(frozen=True, kw_only=True)
class RunningStack:
    """Where its server listens, and the secret that signs tokens for it."""

    url: str
    secret: bytes = field(repr=False)

    def is_at(self, url: str) -> bool:
        """Whether `url` is this server's, `localhost` and `127.0.0.1` being the same host."""
        return _place(url) == _place(self.url)


def find(environment: Mapping[str, str], folder: Path) -> RunningStack | None:
    """The stack started in `folder` (or in SCOREBOARD_DATA_DIR); None when none is ready."""
    state = ready_state(data_folder(environment, folder))
    if state is None:
        return None
    try:
        secret = Path(state["jwt_secret_file"]).read_bytes().strip()
        return RunningStack(url=str(state["base_url"]), secret=secret)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _place(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return "127.0.0.1" if host == "localhost" else host, parts.port
