"""`python -m stack up|down|status|token`: the part of the command `scoreboard` that is ours."""

import sys
from collections.abc import Sequence

from scoreboard_cli.early_interrupt import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    return run("python -m stack", arguments, package="stack")


if __name__ == "__main__":
    sys.exit(main())
