"""`scoreboard <command>`, also `python -m scoreboard_cli <command>`."""

import sys

from scoreboard_cli import early_interrupt


def main() -> int:
    """Run the command that the command line names; returns its exit code."""
    early_interrupt.begins()
    from scoreboard_cli.group import run

    return run("scoreboard")


if __name__ == "__main__":
    sys.exit(main())
