"""`python -m stack.api`: the API process with a worker inside.

One program and one connection to Temporal for both; a worker elsewhere may carry the batches, too.
Server and worker must not import each other, so they meet here. `python -m server` and
`python -m worker` are the same two, apart.

Exit status: 0 after a signal, 1 when it failed, 2 for bad settings.
"""

import os
import sys
from contextlib import AbstractAsyncContextManager

from temporalio.client import Client

from adapters.files import read_file
from adapters.logs import configure_logging, tell_unknown
from scoreboard.settings import SettingsError, from_mapping
from server.run import serve
from server.settings import ServerSettings
from worker.runtime import running_worker
from worker.settings import WorkerSettings


def main() -> int:
    """Run as told by the environment."""
    configure_logging()
    tell_unknown(os.environ)
    try:
        settings = from_mapping(ServerSettings, os.environ, read_file)
        worker_settings = from_mapping(WorkerSettings, os.environ, read_file)
    except SettingsError as error:
        print(f"stack.api: {error}", file=sys.stderr)
        return 2

    def embedded_worker(client: Client) -> AbstractAsyncContextManager[None]:
        return running_worker(client, worker_settings)

    try:
        return serve(settings, embedded_worker)
    except SettingsError as error:
        print(f"stack.api: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"stack.api: cannot listen on {settings.host} port {settings.port}: {error.strerror}",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
