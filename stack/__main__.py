"""`python -m stack`: up, down, status, token. Sentences for people go to stdout and stderr."""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scoreboard.tokens import SCOPE_ANY_USER, mint
from stack.console import Console
from stack.control import ask
from stack.errors import StackError
from stack.settings import PORT_DEFAULT, StackSettings, data_dir, given_addresses
from stack.state import RunFolder, is_locked, read_state
from stack.supervisor import Supervisor, private_secret, shown_path

EXIT_FAILED = 1
TOKEN_TTL_S = 24 * 3600
DOWN_TIMEOUT_S = 15.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0, 1 when it failed, 2 (by argparse) for wrong usage."""
    asked = _parser().parse_args(arguments)
    folder = RunFolder(root=data_dir(os.environ))
    try:
        if asked.command == "up":
            return _up(asked, folder)
        if asked.command == "down":
            return _down(folder)
        if asked.command == "status":
            return _status(folder)
        return _token(asked, folder)
    except StackError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start everything and stay until Ctrl-C")
    up.add_argument("--port", type=_port, help=f"of the server (default {PORT_DEFAULT}; 0: any)")
    for name in ("mysql", "redis", "temporal"):
        up.add_argument(f"--{name}-port", type=_port, help="default: any free one")
    up.add_argument("--users", type=int, default=0, help="further demo users to add")
    commands.add_parser("down", help="stop what `up` runs")
    commands.add_parser("status", help="what runs, as JSON")
    token = commands.add_parser("token", help="print a token for a user")
    token.add_argument("--user", type=int, required=True)
    token.add_argument("--scope", action="append", default=[], help=f"such as {SCOPE_ANY_USER}")
    token.add_argument("--ttl-s", type=int, default=TOKEN_TTL_S, help="seconds (default a day)")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 65536:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _port_given(text: str) -> int:
    try:
        return _port(text)
    except (ValueError, argparse.ArgumentTypeError):
        raise StackError(
            f"SCOREBOARD_PORT must be a number from 0 to 65535, not {text!r}."
        ) from None


def _up(asked: argparse.Namespace, folder: RunFolder) -> int:
    console = Console()
    port = asked.port
    if port is None:
        port = _port_given(os.environ.get("SCOREBOARD_PORT") or str(PORT_DEFAULT))
    chosen = {name: getattr(asked, f"{name}_port") for name in ("mysql", "redis", "temporal")}
    settings = StackSettings(
        data_dir=folder.root,
        host=os.environ.get("SCOREBOARD_HOST") or "127.0.0.1",
        port=port,
        ports={name: number for name, number in chosen.items() if number is not None},
        given=given_addresses(os.environ),
        users=asked.users,
        environment=dict(os.environ),
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
        console.line("Scoreboard starts.")
    asyncio.run(Supervisor(settings, console).run(greet))
    return 0


def things_to_try(supervisor: Supervisor) -> list[str]:
    """The calls of the README with a token that works, then where to look and what to run."""
    url = supervisor.settings.base_url.replace("127.0.0.1", "localhost")
    token = token_for(supervisor.secret, user=1, ttl_s=TOKEN_TTL_S)
    lines = [
        f"curl {url}/scores",
        f"curl -N {url}/scores/stream",
        f"curl -X POST {url}/scores/update \\",
        f"  -H 'Authorization: Bearer {token}' \\",
        "  -H 'Content-Type: application/json' -d '{\"userId\":1,\"increment\":10}'",
        "",
        f"{url}/   the live board; {url}/operator for its operator",
    ]
    if supervisor.temporal_ui is not None:
        lines.append(f"{supervisor.temporal_ui}   the workflows, in Temporal's web UI")
    lines.append(
        "make load                 a minute of load and its verdict, from another terminal"
    )
    return lines


def token_for(secret: str, *, user: int, ttl_s: int, scopes: Sequence[str] = ()) -> str:
    """A token for `user`, valid from now."""
    return mint(
        secret.encode(),
        subject=str(user),
        now_s=int(time.time()),
        ttl_s=ttl_s,
        scopes=tuple(scopes),
    )


def _down(folder: RunFolder) -> int:
    try:
        ask(folder.control, {"op": "shutdown"})
    except OSError:
        print("Nothing runs.")
        return 0
    deadline = time.monotonic() + DOWN_TIMEOUT_S
    while is_locked(folder):
        if time.monotonic() > deadline:
            print(f"It still stops after {DOWN_TIMEOUT_S:.0f} s.", file=sys.stderr)
            return EXIT_FAILED
        time.sleep(0.05)
    print("Stopped.")
    return 0


def _status(folder: RunFolder) -> int:
    try:
        answer = ask(folder.control, {"op": "status"})
    except OSError:
        print("Nothing runs. Start it with: make up", file=sys.stderr)
        return EXIT_FAILED
    print(json.dumps(answer, indent=1))
    return 0


def _token(asked: argparse.Namespace, folder: RunFolder) -> int:
    state = read_state(folder)
    if given := os.environ.get("SCOREBOARD_JWT_SECRET"):
        secret = given
    elif state is not None:
        secret = Path(state["jwt_secret_file"]).read_text().strip()
    else:
        secret = private_secret(folder)
    print(token_for(secret, user=asked.user, ttl_s=asked.ttl_s, scopes=asked.scope))
    return 0


if __name__ == "__main__":
    sys.exit(main())
