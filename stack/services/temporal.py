"""A private Temporal with its web UI: its command, and when it answers."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from stack.ports import HOST, free_port, is_free
from stack.services import programs
from stack.services.program import Private
from stack.services.temporal_probes import temporal_answers
from stack.services.visibility_indexes import drop_unread_indexes


class Temporal(Private):
    """Temporal's development server with a file database and its web UI.

    `synchronous=2` (FULL) is kept: a started workflow is the promise behind a 202, so it must be
    on disk. The two refresh flags cost five reads a workflow and buy nothing here; the rate
    limits are those of a shared cluster.
    """

    name = "temporal"
    namespace = "default"

    def __init__(self, folder: Path, *, ui_port: int | None = None) -> None:
        super().__init__(folder)
        self.ui_port = ui_port if ui_port is not None else free_port()

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self.folder / "temporal.db"

    def environment(self) -> Mapping[str, str]:
        """As ours, with a lazier collector: a sixth less CPU for some 50 MiB more."""
        return {"GOGC": "400", **os.environ}

    async def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def command(self, port: int) -> list[str]:
        if not is_free(self.ui_port):
            self.ui_port = free_port()
        dynamic = {
            "system.forceSearchAttributesCacheRefreshOnRead": "false",
            "system.forceNexusEndpointRefreshOnRead": "false",
            "frontend.rps": "100000",
            "frontend.namespaceRPS": "100000",
            "history.rps": "100000",
            "matching.rps": "100000",
        }
        return [
            programs.temporal(),
            *("server", "start-dev"),
            *("--ip", HOST),
            *("--port", str(port)),
            *("--ui-port", str(self.ui_port)),
            *("--db-filename", str(self.database)),
            *("--sqlite-pragma", "journal_mode=wal"),
            *("--sqlite-pragma", "synchronous=2"),
            *("--log-level", "error"),
            *[
                argument
                for key, value in dynamic.items()
                for argument in ("--dynamic-config-value", f"{key}={value}")
            ],
        ]

    async def answers(self, port: int, pid: int) -> bool:
        del pid
        if not await temporal_answers(f"{HOST}:{port}", self.namespace):
            return False
        # Not before: at its first start it makes the tables itself.
        await asyncio.to_thread(drop_unread_indexes, self.database)
        return True

    def url(self, port: int) -> str:
        return f"{HOST}:{port}"

    @property
    def ui_url(self) -> str:
        return f"http://{HOST}:{self.ui_port}"
