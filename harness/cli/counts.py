"""`python -m harness counts`: SQL statements, Redis commands and workflow events per submission."""

import argparse
import json
import os
import sys
from pathlib import Path

from harness.bench.counts import count_costs
from harness.net.target import TargetError, find_target


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "counts", help="what one submission costs the stores", description=__doc__
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when counted, 1 when there is no stack to count on. About fifteen seconds."""
    try:
        target = find_target(host=None, mysql_url="", environ=os.environ, folder=Path.cwd())
        if target is None:
            raise TargetError("no stack runs here: start one with `make up`")
        costs = count_costs(target)
    except (TargetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(costs))
        return 0
    for name, count in costs.items():
        print(f"  {count:>4}  {name}")
    return 0
