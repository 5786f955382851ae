"""`scoreboard <command>`, also `python -m scoreboard_cli <command>`."""

import sys

from scoreboard_cli.early_interrupt import run


def main() -> int:
    """Run the command that the command line names; returns its exit code."""
    return run("scoreboard")


if __name__ == "__main__":
    sys.exit(main())
