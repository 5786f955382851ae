"""`python -m scoreboard_client <command>`, which the client installs as `scoreboard-client`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from scoreboard_cli.early_interrupt import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    installed = Path(sys.argv[0]).stem == "scoreboard-client"
    program = "scoreboard-client" if installed else "python -m scoreboard_client"
    return run(program, arguments, package="scoreboard_client")


if __name__ == "__main__":
    sys.exit(main())
