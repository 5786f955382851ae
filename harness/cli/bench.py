"""`scoreboard bench` and `scoreboard bench-peers`: the checkout's own benchmarks as a command."""

import subprocess
import sys
from pathlib import Path

import click

from scoreboard_cli.group import command, refuse

COLUMNS = "--benchmark-columns=min,median,iqr,rounds"
"""All of them make lines of 230 characters."""
PASS_ON = {"ignore_unknown_options": True, "help_option_names": []}


@command("bench", context_settings=PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST OPTIONS]")
def bench(arguments: tuple[str, ...]) -> int:
    """Run the regression benchmarks; every option is pytest's."""
    return _run("pytest", "benchmarks", "--benchmark-only", COLUMNS, *arguments)


@command("bench-peers", context_settings=PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS]")
def bench_peers(arguments: tuple[str, ...]) -> int:
    """Compare with alternative designs; every option is that of `python -m benchmarks.peers`."""
    return _run("benchmarks.peers", *arguments)


def _run(*words: str) -> int:
    if not Path("benchmarks").is_dir():
        refuse("there is no folder benchmarks here: run this in a checkout of Scoreboard")
    return subprocess.call([sys.executable, "-m", *words])
