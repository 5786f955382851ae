"""`scoreboard players`: an operator's orders about players, through the API. What they do: see
`scoreboard.players`.

Prints what stands afterwards, one JSON object per line. Exit codes as in `commands`.
"""

from collections.abc import Mapping
from pathlib import Path

import click

from scoreboard.domain import MAX_SCORE, MAX_USER_ID
from scoreboard.players.orders import parse_action
from scoreboard.tokens import SCOPE_PLAYERS
from scoreboard_cli.group import GOOD, command, group
from scoreboard_cli.types import whole
from scoreboard_client.commands import SECRET_FILE, Server, print_fields, talks
from scoreboard_client.retry import RetryPolicy

ID = whole("ID", least=1, most=MAX_USER_ID)
SCORE = whole("POINTS", most=MAX_SCORE)
USER = click.option("--user", type=ID, required=True, help="The player's id.")
NAME = click.option("--name", required=True, help="The player's name.")
REASON = click.option("--reason", required=True, help="Why; the audit trail keeps it.")
KEY = click.option(
    "--key", metavar="KEY", help="Idempotency-Key; a repeat takes no effect (a random one)."
)


@group("players")
def players() -> None:
    """Add, rename, remove and merge players, and set scores (docs/operations.md).

    The token is SCOREBOARD_TOKEN with the scope scores:players, or is made with the secret in
    --secret-file, SCOREBOARD_JWT_SECRET or the running stack.
    """


@command("add")
@NAME
@click.option("--score", type=SCORE, default=0, help="Points to begin with (0).")
@click.option("--user", type=ID, help="The player's id (the database gives one).")
@REASON
@KEY
@SECRET_FILE
@talks
async def add(
    server: Server,
    retry: RetryPolicy,
    name: str,
    score: int,
    user: int | None,
    reason: str,
    key: str | None,
    secret_file: Path | None,
) -> int:
    """Add a player."""
    order = {"action": "add", "name": name, "score": score, "reason": reason}
    if user is not None:
        order["userId"] = user
    return await _carry_out(server, retry, secret_file, key, order)


@command("rename")
@USER
@NAME
@REASON
@KEY
@SECRET_FILE
@talks
async def rename(
    server: Server,
    retry: RetryPolicy,
    user: int,
    name: str,
    reason: str,
    key: str | None,
    secret_file: Path | None,
) -> int:
    """Give a player another name."""
    order = {"action": "rename", "userId": user, "name": name, "reason": reason}
    return await _carry_out(server, retry, secret_file, key, order)


@command("set-score")
@USER
@click.option("--score", type=SCORE, required=True, help="The player's total.")
@REASON
@KEY
@SECRET_FILE
@talks
async def set_score(
    server: Server,
    retry: RetryPolicy,
    user: int,
    score: int,
    reason: str,
    key: str | None,
    secret_file: Path | None,
) -> int:
    """Set a player's total."""
    order = {"action": "set-score", "userId": user, "score": score, "reason": reason}
    return await _carry_out(server, retry, secret_file, key, order)


@command("remove")
@USER
@REASON
@KEY
@SECRET_FILE
@talks
async def remove(
    server: Server,
    retry: RetryPolicy,
    user: int,
    reason: str,
    key: str | None,
    secret_file: Path | None,
) -> int:
    """Take a player and their points off the board, for ever."""
    order = {"action": "remove", "userId": user, "reason": reason}
    return await _carry_out(server, retry, secret_file, key, order)


@command("merge")
@USER
@click.option("--into", type=ID, required=True, help="The player who gets the points.")
@REASON
@KEY
@SECRET_FILE
@talks
async def merge(
    server: Server,
    retry: RetryPolicy,
    user: int,
    into: int,
    reason: str,
    key: str | None,
    secret_file: Path | None,
) -> int:
    """Give a player's points to another one, and remove the first."""
    order = {"action": "merge", "userId": user, "into": into, "reason": reason}
    return await _carry_out(server, retry, secret_file, key, order)


@command("list")
@click.option("--after", type=whole("ID"), default=0, help="Only greater ids (0).")
@click.option("--limit", type=whole(least=1, most=500), default=100, help="How many (100).")
@SECRET_FILE
@talks
async def list_players(
    server: Server, retry: RetryPolicy, after: int, limit: int, secret_file: Path | None
) -> int:
    """Print players by id."""
    async with server.operator(retry, secret_file, SCOPE_PLAYERS) as client:
        for each in await client.players(after=after, limit=limit):
            print_fields(userId=each.user_id, user=each.user, score=each.score)
    return GOOD


@command("look-now")
@SECRET_FILE
@talks
async def look_now(server: Server, retry: RetryPolicy, secret_file: Path | None) -> int:
    """Make the server look at what was changed in MySQL by hand, and print what it mended."""
    async with server.operator(retry, secret_file, SCOPE_PLAYERS) as client:
        print_fields(**await client.look_now())
    return GOOD


for each in (add, rename, set_score, remove, merge, list_players, look_now):
    players.add_command(each)


async def _carry_out(
    server: Server,
    retry: RetryPolicy,
    secret_file: Path | None,
    key: str | None,
    order: Mapping[str, object],
) -> int:
    parse_action(order)
    async with server.operator(retry, secret_file, SCOPE_PLAYERS) as client:
        done = await client.manage_player(order, idempotency_key=key)
    print_fields(userId=done.user_id, user=done.user, score=done.score, seq=done.seq)
    return GOOD
