"""The commands that start, stop and inspect the stack on this machine, and make tokens for it.

Sentences for people go to stdout and stderr; `status` and `token` print what a program reads.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scoreboard.settings import flag
from scoreboard.tokens import MAX_LIFETIME_S, SCOPES, mint
from scoreboard_cli.group import BAD, GOOD, CommandError, command, refuse
from scoreboard_cli.types import PORT, whole
from stack.console import Console
from stack.data_folder import RunFolder, prepare, private_secret, shown_path
from stack.errors import StackError
from stack.settings import PORT_DEFAULT, StackSettings, data_dir, given_addresses
from stack.state import is_locked, read_state
from stack.supervision.control import ask

if TYPE_CHECKING:
    from stack.supervision.supervisor import Supervisor

TOKEN_TTL_S = 24 * 3600
DOWN_TIMEOUT_S = 15.0


def in_folder(function: Callable[..., int]) -> Callable[..., int]:
    """Gives a command the data folder; a StackError becomes its sentence and exit code 1."""

    @wraps(function)
    def run(**options: object) -> int:
        try:
            return function(RunFolder(root=data_dir(os.environ)), **options)
        except StackError as error:
            raise CommandError(str(error)) from None
        except BrokenPipeError:
            # The reader of the output left: `scoreboard status | head`.
            raise
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CommandError(f"{error.filename or data_dir(os.environ)}: {reason}") from None

    return run


@command("up")
@click.option("--port", type=PORT, help=f"Port of the server (default {PORT_DEFAULT}; 0: any).")
@click.option("--mysql-port", type=PORT, help="Port of MySQL (default: any free one).")
@click.option("--redis-port", type=PORT, help="Port of Redis (default: any free one).")
@click.option("--temporal-port", type=PORT, help="Port of Temporal (default: any free one).")
@click.option("--users", type=whole(), default=0, help="Add N more demo users.")
@in_folder
def up(folder: RunFolder, port: int | None, users: int, **service_ports: int | None) -> int:
    """Start every service and stay until Ctrl-C.

    MySQL, Redis and Temporal are private instances on free ports of 127.0.0.1; their data stays
    in .scoreboard (SCOREBOARD_DATA_DIR). An address given in SCOREBOARD_MYSQL_URL,
    SCOREBOARD_REDIS_URL or SCOREBOARD_TEMPORAL_ADDRESS replaces that instance.
    """
    # What only this command needs takes a while to import.
    from scoreboard.settings.names import unknown
    from stack.environment import faults
    from stack.supervision.supervisor import Supervisor

    chosen = {n.removesuffix("_port"): p for n, p in service_ports.items() if p is not None}
    own = [*chosen.items(), *([("server", port)] if port is not None else ())]
    for number in chosen.values():
        twice = [other for other, taken in own if taken == number and number]
        if len(twice) > 1:
            flags = " and ".join("--port" if n == "server" else f"--{n}-port" for n in twice)
            refuse(f"{flags} name the same port, {number}")
    environment = {**os.environ, **({} if port is None else {"SCOREBOARD_PORT": str(port)})}
    if wrong := faults(environment):
        refuse("\n".join([*wrong, *unknown(environment)]))
    prepare(folder)
    console = Console()
    for sentence in unknown(environment):
        console.notice(sentence)
    settings = StackSettings(
        data_dir=folder.root,
        host=os.environ.get("SCOREBOARD_HOST") or "127.0.0.1",
        port=int(environment.get("SCOREBOARD_PORT") or PORT_DEFAULT),
        ports=chosen,
        given=given_addresses(os.environ),
        users=users,
        environment=environment,
    )
    began = time.monotonic()

    def greet(supervisor: Supervisor) -> None:
        console.line()
        console.line(f"{console.bold('Ready')} after {time.monotonic() - began:.1f} s. Try:")
        console.line()
        for line in things_to_try(supervisor):
            console.line(f"  {line}")
        console.line()
        console.line(f"Ctrl-C stops everything; the data stays in {shown_path(folder)}.")

    if not is_locked(folder):
        console.line("Starting Scoreboard.")
    asyncio.run(Supervisor(settings, console).run(greet))
    return GOOD


def things_to_try(supervisor: "Supervisor") -> list[str]:
    """The calls of the README with a token that works, then where to look and what to run."""
    url = supervisor.settings.base_url.replace("127.0.0.1", "localhost")
    token = token_for(supervisor.secret, user=1, ttl_s=TOKEN_TTL_S)
    environment = supervisor.settings.environment
    signed = flag(environment.get("SCOREBOARD_SIGNATURES_REQUIRED") or "0")
    guarded = flag(environment.get("SCOREBOARD_STREAM_AUTH_REQUIRED") or "0")
    lines = [
        f"curl {url}/scores",
        f"curl -N {url}/scores/stream"
        + (f" -H 'Authorization: Bearer {token}'" if guarded else ""),
        *submission_to_try(url, token, signed=signed),
        "",
    ]
    places = {f"{url}/": "live board", f"{url}/operator": "operator's view"}
    if supervisor.temporal_ui is not None:
        places[supervisor.temporal_ui] = "Temporal's web UI, with the workflows"
    arguments = ["--signing-key ID:FILE"] * signed + ["--stream-auth"] * guarded
    load = f'make load ARGS="{" ".join(arguments)}"' if arguments else "make load"
    places[load] = "in another terminal: one minute of load, then a verdict"
    width = max(map(len, places))
    lines += [f"{place:{width}}  {what}" for place, what in places.items()]
    return lines


def submission_to_try(url: str, token: str, *, signed: bool) -> list[str]:
    """One that this server accepts."""
    if signed:
        return [
            "scoreboard sign --user 1 --increment 10 --signing-key ID:FILE | curl -K -",
            "  (this server takes signed submissions only: docs/client.md, Signed requests)",
        ]
    return [
        f"curl -X POST {url}/scores/update \\",
        f"  -H 'Authorization: Bearer {token}' \\",
        "  -H 'Content-Type: application/json' -d '{\"userId\":1,\"increment\":10}'",
    ]


def token_for(secret: str, *, user: int, ttl_s: int, scopes: Sequence[str] = ()) -> str:
    """A token for `user`, valid from now."""
    return mint(
        secret.encode(),
        subject=str(user),
        now_s=int(time.time()),
        ttl_s=ttl_s,
        scopes=tuple(scopes),
    )


@command("down")
@in_folder
def down(folder: RunFolder) -> int:
    """Stop what `up` runs in another terminal. The data stays."""
    try:
        ask(folder.control, {"op": "shutdown"})
    except OSError:
        print("Nothing is running.")
        return GOOD
    deadline = time.monotonic() + DOWN_TIMEOUT_S
    while is_locked(folder):
        if time.monotonic() > deadline:
            print(f"Still stopping after {DOWN_TIMEOUT_S:.0f} s.", file=sys.stderr)
            return BAD
        time.sleep(0.05)
    print("Stopped.")
    return GOOD


@command("status")
@in_folder
def status(folder: RunFolder) -> int:
    """Print what is running, as JSON. Exit code 1 when nothing is."""
    try:
        answer = ask(folder.control, {"op": "status"})
    except OSError:
        raise StackError("Nothing is running. Start it with: make up") from None
    print(json.dumps(answer, indent=1))
    return GOOD


@command("token")
@click.option("--user", type=whole("ID", least=1), required=True, help="The user's id.")
@click.option(
    "--scope", multiple=True, type=click.Choice(SCOPES), help="What it allows; may be repeated."
)
@click.option(
    "--ttl-s",
    # No server takes one that is valid for longer.
    type=whole("SECONDS", least=1, most=MAX_LIFETIME_S),
    default=TOKEN_TTL_S,
    help="How long it is valid (default: a day).",
)
@in_folder
def token(folder: RunFolder, user: int, scope: tuple[str, ...], ttl_s: int) -> int:
    """Print a token with which a user may submit.

    Signed with SCOREBOARD_JWT_SECRET, else with the secret of the running stack, else with the
    one in the data folder.
    """
    state = read_state(folder)
    if given := os.environ.get("SCOREBOARD_JWT_SECRET"):
        secret = given
    elif state is not None:
        secret = Path(state["jwt_secret_file"]).read_text("utf-8").strip()
    else:
        secret = private_secret(folder)
    print(token_for(secret, user=user, ttl_s=ttl_s, scopes=scope))
    return GOOD
