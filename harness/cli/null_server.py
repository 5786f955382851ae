"""`python -m harness nullserver`: serve the contract from memory, with faults on request."""

import argparse
import asyncio
import gc

from harness.engines.null_server import Faults, NullServer, serve
from harness.net.sockets import raise_descriptor_limit


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "nullserver",
        help="answer everything at once, from memory; or wrongly, on request",
        description=__doc__,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (%(default)s)")
    parser.add_argument("--players", type=int, default=1000, help="users 1..N (%(default)s)")
    parser.add_argument("--tick-ms", type=float, default=20.0, help="between broadcasts")
    parser.add_argument("--service-ms", type=float, default=0.0, help="before each answer")
    faults = parser.add_argument_group("planted faults (numbers from 0, seqs from 1)")
    faults.add_argument("--stall", metavar="AT+SECONDS", default="", help="as in 5+2")
    faults.add_argument("--cut-at", type=float, default=-1.0, help="close all streams then")
    faults.add_argument("--slow-listener", type=float, default=0.0, help="seconds late")
    faults.add_argument("--victim", type=int, default=0, help="which listener suffers")
    for name in NUMBER_SETS:
        faults.add_argument(f"--{name.replace('_', '-')}", metavar="N,N,…", default="")
    parser.set_defaults(run=run)


NUMBER_SETS = (
    "lose_submissions",
    "double_submissions",
    "lose_answers",
    "refuse_submissions",
    "lose_events",
    "duplicate_events",
    "swap_events",
    "garble_events",
)


def faults_from(arguments: argparse.Namespace) -> Faults:
    """The faults that the arguments name. Raises ValueError on unreadable numbers."""
    at, _, seconds = arguments.stall.partition("+")
    numbers = {
        name: frozenset(int(n) for n in getattr(arguments, name).split(",") if n)
        for name in NUMBER_SETS
    }
    return Faults(
        stall_at_s=float(at) if at else -1.0,
        stall_s=float(seconds) if seconds else 0.0,
        victim=arguments.victim,
        slow_listener_s=arguments.slow_listener,
        cut_at_s=arguments.cut_at,
        **numbers,
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    import uvloop

    raise_descriptor_limit()
    server = NullServer(
        users=arguments.players,
        tick_s=arguments.tick_ms / 1000,
        service_s=arguments.service_ms / 1000,
        faults=faults_from(arguments),
    )
    # The collector would pause a server that is meant to answer at once.
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(server, host=arguments.host, port=arguments.port))
    return 0
