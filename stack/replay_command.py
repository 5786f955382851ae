"""`scoreboard replay`: brings back from Temporal what MySQL lost, of the running stack or of the
services that the environment names. What it does: see `worker.recovery.replay`.
"""

import argparse
import os

import click

from scoreboard_cli.group import command
from scoreboard_cli.types import parsed
from stack.commands import in_folder
from stack.data_folder import RunFolder
from stack.settings import ADDRESS_VARIABLES
from stack.state import read_state


def _moment(text: str) -> str:
    from worker.recovery.moments import moment

    try:
        moment(text)
    except argparse.ArgumentTypeError as error:
        raise ValueError(str(error)) from None
    return text


@command("replay")
@click.option(
    "--since",
    type=parsed("WHEN", _moment),
    required=True,
    help="A duration such as 90m, or a time such as 2026-01-31T12:00Z: a minute before the loss.",
)
@in_folder
def replay(folder: RunFolder, since: str) -> int:
    """Bring back from Temporal what MySQL lost, exactly once.

    After a fail-over or a restore of MySQL that lost the last commits. Temporal has every batch
    for the retention of its namespace; what the ledger lacks is decided again. Prints what was
    found, as JSON; a second time it is nothing.
    """
    # Imports the SDK of Temporal.
    from worker.__main__ import main

    state = read_state(folder) or {}
    for service, variable in ADDRESS_VARIABLES.items():
        if url := state.get("urls", {}).get(service):
            os.environ.setdefault(variable, url)
    return main(["replay", "--since", since])
