"""`scoreboard counts`: SQL statements, Redis commands and workflow events per submission."""

import json
import os
from pathlib import Path

import click

from harness.bench.counts import count_costs
from harness.net.target import TargetError, find_target
from scoreboard_cli.group import COULD_NOT_TELL, GOOD, CommandError, command


@command("counts")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def counts(as_json: bool) -> int:
    """Count what one submission costs MySQL, Redis and Temporal. About fifteen seconds."""
    try:
        target = find_target(host=None, mysql_url="", environ=os.environ, folder=Path.cwd())
        if target is None:
            raise TargetError("no stack runs here: start one with `make up`")
        costs = count_costs(target)
    except (TargetError, OSError) as error:
        raise CommandError(str(error), COULD_NOT_TELL) from None
    if as_json:
        print(json.dumps(costs))
        return GOOD
    for name, count in costs.items():
        print(f"  {count:>4}  {name}")
    return GOOD
