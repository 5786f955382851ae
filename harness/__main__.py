"""`python -m harness <command>`: the part of the command `scoreboard` that measures."""

import sys
from collections.abc import Sequence

from scoreboard_cli.early_interrupt import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    return run("python -m harness", arguments, package="harness")


if __name__ == "__main__":
    sys.exit(main())
