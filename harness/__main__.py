"""Command line of the measuring engine: `python -m harness <command>`.

Exit codes: 0 good, 1 a bad or unknown verdict, 2 wrong use.
"""

import argparse
import importlib
import sys

COMMANDS = (
    "load",
    "capacity",
    "compare",
    "selfproof",
    "results",
    "counts",
    "bench-compare",
    "nullserver",
    "check",
    "chaos",
)
MODULES = {"selfproof": "self_test", "nullserver": "null_server"}
"""Where the module is not called as the command is."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m harness",
        description="Measure a scoreboard, and judge what was measured.",
    )
    subparsers = parser.add_subparsers(metavar="command", required=True)
    arguments_given = sys.argv[1:] if argv is None else argv
    # Only the command asked for is imported: Locust must patch the process before
    # anything else loads ssl, and the others need not wait for Locust.
    named = [name for name in COMMANDS if arguments_given[:1] == [name]]
    for name in named or COMMANDS:
        module = MODULES.get(name, name.replace("-", "_"))
        importlib.import_module(f"harness.cli.{module}").register(subparsers)
    arguments = parser.parse_args(argv)
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
