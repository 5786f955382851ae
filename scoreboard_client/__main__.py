"""`python -m scoreboard_client <command>`, which the client installs as `scoreboard-client`."""

import sys
from collections.abc import Sequence

from scoreboard_cli.early_interrupt import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    return run("python -m scoreboard_client", arguments, package="scoreboard_client")


if __name__ == "__main__":
    sys.exit(main())
