"""`python -m harness load`: the whole measurement in one command, with a verdict.

Finds a running stack (or starts one, and stops it afterwards), seeds users,
starts Locust's master here and its workers as processes of their own (senders
and listeners apart), runs the scenario, judges and writes one result file.
"""

import argparse
import os
import resource
import sys
from dataclasses import replace
from pathlib import Path

from harness.measure.settings import (
    add_options,
    connections_that_fit,
    read_signing_key,
    settings_from,
)


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "load",
        help="measure a server: flood, listeners, verdict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="any server with the contract; default: the running stack")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes per kind of user (%(default)s)"
    )
    parser.add_argument("--locustfile", default="loadtests", help="scenario (%(default)s)")
    parser.add_argument("--no-seed", action="store_true", help="the users are there already")
    parser.add_argument(
        "--no-ceiling", action="store_true", help="do not measure the generator's own ceiling"
    )
    parser.add_argument(
        "--result-file",
        type=Path,
        help="write the result to this file; default: a new one in --results",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run it. 0 for a good verdict, 1 for a bad one, 2 for wrong use."""
    try:
        settings = settings_from(vars(arguments))
        read_signing_key(settings.signing_key)
        _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
        connections = connections_that_fit(
            settings, workers=max(1, arguments.workers), descriptors=descriptors
        )
    except (ValueError, OSError) as error:
        print("error: " + str(error).replace("\n", "\n       "), file=sys.stderr)
        return 2
    if connections < settings.connections:
        told = f"--connections {connections}: all that {descriptors:,} file descriptors allow"
        print(told, file=sys.stderr)
        settings = replace(settings, connections=connections)
    # Importing Locust patches the whole process for gevent, so only this command does it.
    from harness.sessions.load_session import Session

    return Session(
        settings=settings,
        host=arguments.host,
        workers=arguments.workers,
        locustfile=Path(arguments.locustfile),
        seed_users=not arguments.no_seed,
        ceiling=not arguments.no_ceiling,
        environ=dict(os.environ),
        folder=Path.cwd(),
        result_file=arguments.result_file,
    ).run()
