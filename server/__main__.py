"""`python -m server`: serve the API without a worker of its own.

Exit status: 0 after a signal, 1 when it failed, 2 for bad settings.
"""

import os
import sys

from adapters.files import read_file
from adapters.logs import configure_logging, tell_unknown
from scoreboard.settings import SettingsError, from_mapping
from server.run import serve
from server.settings import ServerSettings


def main() -> int:
    """Run as told by the environment."""
    configure_logging()
    tell_unknown(os.environ)
    try:
        settings = from_mapping(ServerSettings, os.environ, read_file)
    except SettingsError as error:
        print(f"server: {error}", file=sys.stderr)
        return 2
    try:
        return serve(settings)
    except SettingsError as error:
        print(f"server: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"server: cannot listen on {settings.host} port {settings.port}: {error.strerror}",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
