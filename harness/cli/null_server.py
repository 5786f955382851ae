"""`scoreboard nullserver`: serve the contract from memory, with faults on request."""

import asyncio
import gc
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from harness.engines.null_server import Faults, NullServer, serve
from harness.net.sockets import raise_descriptor_limit
from scoreboard_cli.group import GOOD, command, refuse
from scoreboard_cli.types import PORT, SECONDS, Number, parsed, whole

T = TypeVar("T")
MS = Number("MS", least=0, whole=False)
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


def _numbers(text: str) -> frozenset[int]:
    try:
        return frozenset(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"must be whole numbers with commas between, not {text!r}") from None


def _stall(text: str) -> tuple[float, float]:
    at, _, seconds = text.partition("+")
    try:
        found = float(at), float(seconds)
        if not all(0 <= value < math.inf for value in found):
            raise ValueError
        return found
    except ValueError:
        raise ValueError(f"must be AT+SECONDS, such as 5+2, not {text!r}") from None


def _address(text: str) -> str:
    form = "must be an address of this machine, such as 127.0.0.1"
    try:
        if not text.encode("idna"):
            raise ValueError(form)
    except UnicodeError:
        raise ValueError(form) from None
    return text


def _or_never(moment: T | None) -> T | int:
    return -1 if moment is None else moment


def number_sets(function: Callable[..., int]) -> Callable[..., int]:
    """Adds an option per kind of fault that strikes single submissions or events."""
    for name in reversed(NUMBER_SETS):
        function = click.option(
            f"--{name.replace('_', '-')}",
            type=parsed("N,N,…", _numbers),
            default=frozenset(),
            help=f"{name.replace('_', ' ').capitalize()} of these numbers.",
        )(function)
    return function


@command("nullserver")
@click.option(
    "--host",
    type=parsed("ADDRESS", _address),
    default="127.0.0.1",
    help="Address to bind (127.0.0.1).",
)
@click.option("--port", type=PORT, default=0, help="Port; 0 takes a free one.")
@click.option("--players", type=whole(least=1), default=1000, help="Users 1..N (1000).")
@click.option("--tick-ms", type=MS, default=20.0, help="Time between broadcasts (20).")
@click.option("--service-ms", type=MS, default=0.0, help="Time before each answer (0).")
@click.option(
    "--stall",
    type=parsed("AT+SECONDS", _stall),
    default=(-1.0, 0.0),
    help="Answer nothing for a while, such as 5+2.",
)
@click.option("--cut-at", type=SECONDS, help="Close all streams at this second of the run.")
@click.option("--slow-listener", type=SECONDS, default=0.0, help="Delay one listener's events.")
@click.option("--victim", type=whole(), default=0, help="Which listener is slow (0).")
@click.option("--refuse-from", type=whole(), help="Refuse every submission from this number on.")
@click.option(
    "--refuse-status",
    type=whole("STATUS", least=300, most=599),
    default=503,
    help="The status of these refusals (503).",
)
@click.option("--slow-from", type=SECONDS, help="Slow to a stop from this second of the run.")
@click.option("--die-at", type=SECONDS, help="Die at this second of the run.")
@number_sets
def nullserver(
    host: str, port: int, players: int, tick_ms: float, service_ms: float, **faults: Any
) -> int:
    """Serve the API from memory until stopped: correctly, or with planted faults.

    Submissions are numbered from 0, events by their seq from 1.
    """
    import uvloop

    raise_descriptor_limit()
    server = NullServer(
        users=players,
        tick_s=tick_ms / 1000,
        service_s=service_ms / 1000,
        faults=faults_from(faults),
    )
    # The collector would pause a server that is meant to answer at once.
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(server, host=host, port=port))
    except OSError as error:
        refuse(f"cannot listen on {host} port {port}: {error.strerror or error}")
    return GOOD


def faults_from(options: Mapping[str, Any]) -> Faults:
    """The faults that the options name."""
    at_s, stall_s = options["stall"]
    return Faults(
        stall_at_s=at_s,
        stall_s=stall_s,
        victim=options["victim"],
        slow_listener_s=options["slow_listener"],
        cut_at_s=_or_never(options["cut_at"]),
        refuse_from=_or_never(options["refuse_from"]),
        refuse_status=options["refuse_status"],
        slow_from_s=_or_never(options["slow_from"]),
        die_at_s=_or_never(options["die_at"]),
        **{name: options[name] for name in NUMBER_SETS},
    )
