"""The API from a shell: submit, outcome, top, follow, sign.

Results go to stdout, one JSON object per line (`top` prints a table unless asked); everything
else goes to stderr. Exit codes: 0 done, 1 refused, unreachable or broken, 2 wrong use, 3 when it
is open whether a submission took effect.
"""

import asyncio
import logging
import math
import os
import secrets
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from scoreboard import contract, tokens
from scoreboard.domain import MAX_INCREMENT
from scoreboard.signing import SigningKey, parse_key, sign
from scoreboard_cli.group import (
    BAD,
    COULD_NOT_TELL,
    GOOD,
    INTERRUPTED,
    CommandError,
    command,
    refuse,
)
from scoreboard_cli.types import INPUT_FILE, Number, parsed, whole
from scoreboard_client import running_stack
from scoreboard_client.client import DEFAULT_URL, ScoreboardClient, checked_url
from scoreboard_client.errors import ClientError, EffectUnknown
from scoreboard_client.follow import StreamEvent, Update
from scoreboard_client.retry import RetryPolicy

TOKEN_TTL_S = 300
OUTCOME_CODES = {"applied": GOOD, "rejected": BAD}
"""A submission that is pending or held has no outcome yet."""

Token = str | Callable[[], str]
Done = Coroutine[Any, Any, int]


def _increment(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 0 < abs(number) <= MAX_INCREMENT:
        raise ValueError(
            f"must be a whole number from {-MAX_INCREMENT} to {MAX_INCREMENT} that is not 0, "
            f"not {text!r}"
        )
    return number


def _signing_key(text: str) -> SigningKey:
    key_id, separator, path = text.partition(":")
    if not separator:
        raise ValueError(f"must be ID:FILE, not {text!r}")
    try:
        return parse_key(key_id, Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None


USER = click.option("--user", type=whole("ID", least=1), required=True, help="The user's id.")
INCREMENT = click.option(
    "--increment",
    type=parsed("POINTS", _increment),
    required=True,
    help="Points to add; below 0 takes points away.",
)
OPERATOR = "operator"
"""The subject of a token that is made for an operator: what the audit trail names."""
SECRET_FILE = click.option(
    "--secret-file", type=INPUT_FILE, help="File with the server's JWT secret, to make a token."
)
SIGNING_KEY_HELP = (
    "Sign with this key: its id, and a file with the shared secret in base64 (HMAC-SHA256) or an "
    "Ed25519 private key in PEM."
)


def talks(function: Callable[..., Done]) -> Callable[..., int]:
    """Adds what every command needs to reach a server, runs it, and puts its errors into words."""
    return _talking(function, 30.0, "Give up retrying after this long (30).")


def listens(function: Callable[..., Done]) -> Callable[..., int]:
    """The same for a command that goes on as long as the server does."""
    said = "Give up after this long without a word from the server (30 failures in a row)."
    return _talking(function, math.inf, said)


def _talking(function: Callable[..., Done], default_s: float, said: str) -> Callable[..., int]:

    @click.option(
        "--url",
        type=parsed("URL", checked_url),
        help=f"The server (SCOREBOARD_URL, else the running stack, else {DEFAULT_URL}).",
    )
    @click.option(
        "--deadline-s",
        type=Number("SECONDS", above=0, whole=False),
        default=None if default_s == math.inf else default_s,
        help=said,
    )
    @click.option("--verbose", is_flag=True, help="Also say when it connects.")
    @wraps(function)
    def run(url: str | None, deadline_s: float | None, verbose: bool, **options: Any) -> int:
        logging.basicConfig(format="%(message)s", stream=sys.stderr)
        logging.getLogger("scoreboard_client").setLevel("DEBUG" if verbose else "INFO")
        server = Server(url)
        try:
            retry = RetryPolicy(deadline_s=default_s if deadline_s is None else deadline_s)
            return asyncio.run(function(server, retry, **options))
        except ValueError as error:
            refuse(str(error))
        except EffectUnknown as error:
            raise CommandError(f"effect unknown: {error}", COULD_NOT_TELL) from None
        except ClientError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            return INTERRUPTED

    return run


class Server:
    """Where the server is, and how to make tokens for it; the running stack fills the gaps."""

    def __init__(self, url: str | None) -> None:
        self._stack = running_stack.find(os.environ, Path.cwd())
        given = url or os.environ.get("SCOREBOARD_URL")
        self.url = given or (self._stack.url if self._stack else DEFAULT_URL)

    def operator(
        self, retry: RetryPolicy, secret_file: Path | None, scope: str
    ) -> ScoreboardClient:
        """A client with one scope, whose token is made in the operator's name."""
        token = self.token(secret_file, OPERATOR, (scope,))
        return ScoreboardClient(self.url, token=token, retry=retry)

    def listener(self) -> Token | None:
        """A token for the stream, which needs none everywhere; None where none can be made."""
        known = os.environ.get("SCOREBOARD_TOKEN", "").strip() or self._secret(None)
        return self.token(None, OPERATOR) if known else None

    def token(
        self, secret_file: Path | None, user: int | str | None, scopes: tuple[str, ...] = ()
    ) -> Token:
        """A bearer token, or a function that makes a current one. Ends the command without one."""
        if token := os.environ.get("SCOREBOARD_TOKEN", "").strip():
            return token
        secret = self._secret(secret_file)
        if not secret:
            refuse("set SCOREBOARD_TOKEN or SCOREBOARD_JWT_SECRET, or give --secret-file")
        if len(secret) < tokens.MIN_SECRET_BYTES:
            refuse(f"the secret must have at least {tokens.MIN_SECRET_BYTES} bytes")

        def minted() -> str:
            # Anew for every attempt: a call that retries for long must not outlive its token.
            return tokens.mint(
                secret,
                subject=str(user or 1),
                now_s=int(time.time()),
                ttl_s=TOKEN_TTL_S,
                scopes=scopes,
            )

        return minted

    def _secret(self, file: Path | None) -> bytes:
        if file is not None:
            try:
                return file.read_bytes().strip()
            except OSError as error:
                refuse(f"--secret-file {file}: {error.strerror}")
        given = os.environ.get("SCOREBOARD_JWT_SECRET", "").strip().encode()
        if not given and self._stack is not None and self._stack.is_at(self.url):
            return self._stack.secret
        return given


@command("submit")
@USER
@INCREMENT
@click.option(
    "--key",
    metavar="KEY",
    help="Idempotency-Key; repeating a key never counts twice (default: a random one).",
)
@SECRET_FILE
@click.option(
    "--signing-key", type=parsed("ID:FILE", _signing_key), help=SIGNING_KEY_HELP, default=None
)
@talks
async def submit(
    server: Server,
    retry: RetryPolicy,
    user: int,
    increment: int,
    key: str | None,
    secret_file: Path | None,
    signing_key: SigningKey | None,
) -> int:
    """Add points to a user.

    The token is SCOREBOARD_TOKEN, or is made with the secret in --secret-file,
    SCOREBOARD_JWT_SECRET or the running stack.
    """
    token = server.token(secret_file, user)
    async with ScoreboardClient(
        server.url, token=token, signing_key=signing_key, retry=retry
    ) as client:
        accepted = await client.submit(user_id=user, increment=increment, idempotency_key=key)
    print_fields(
        submissionId=accepted.submission_id,
        idempotencyKey=accepted.idempotency_key,
        attempts=accepted.attempts,
    )
    return GOOD


@command("outcome")
@click.argument("submission_id")
@SECRET_FILE
@talks
async def outcome(
    server: Server, retry: RetryPolicy, submission_id: str, secret_file: Path | None
) -> int:
    """Print what became of a submission.

    Exit codes: 0 applied, 1 rejected (or the server cannot be asked), 2 wrong use, 3 still
    pending, or held for review.
    """
    token = server.token(secret_file, None, (tokens.SCOPE_ANY_USER,))
    async with ScoreboardClient(server.url, token=token, retry=retry) as client:
        found = await client.outcome(submission_id)
    said = {"score": found.score, "seq": found.seq, "reason": found.reason}
    print_fields(
        submissionId=found.submission_id,
        status=found.status,
        **{name: value for name, value in said.items() if value is not None},
    )
    return OUTCOME_CODES.get(found.status, COULD_NOT_TELL)


@command("top")
@click.option(
    "--limit",
    type=whole(least=1, most=contract.TOP_MAX),
    default=contract.TOP_DEFAULT,
    help=f"How many lines ({contract.TOP_DEFAULT}).",
)
@click.option("--offset", type=whole(), default=0, help="How many places to skip (0).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@talks
async def top(server: Server, retry: RetryPolicy, limit: int, offset: int, as_json: bool) -> int:
    """Print the board, best first."""
    async with ScoreboardClient(server.url, retry=retry) as client:
        board = await client.top(limit=limit, offset=offset)
    if as_json:
        print_fields(seq=board.seq, scores=board.scores)
    else:
        for place, line in enumerate(board.scores, offset + 1):
            print(f"{place:>4}  {line.score:>12,}  {line.user}")
    return GOOD


@command("follow")
@click.option("--last-event-id", type=whole("SEQ"), help="Continue after this change.")
@click.option("--snapshot", is_flag=True, help="Begin with the top of the board.")
@click.option("--count", type=whole(least=1), help="Stop after N events.")
@listens
async def follow(
    server: Server,
    retry: RetryPolicy,
    last_event_id: int | None,
    snapshot: bool,
    count: int | None,
) -> int:
    """Print every change of the board as it happens, one JSON object per line.

    Reconnects by itself and continues without a gap; says on stderr when it has to wait.
    The token, if there is one, is SCOREBOARD_TOKEN, or is made with the secret in
    SCOREBOARD_JWT_SECRET or the running stack.
    """
    left = count
    async with (
        ScoreboardClient(server.url, token=server.listener(), retry=retry) as client,
        aclosing(
            client.follow(
                last_event_id=last_event_id, snapshot=snapshot, give_up_s=retry.deadline_s
            )
        ) as events,
    ):
        async for event in events:
            print_fields(**_fields(event))
            if left is not None:
                left -= 1
                if not left:
                    return GOOD
    return GOOD


@command("sign")
@USER
@INCREMENT
@SECRET_FILE
@click.option(
    "--signing-key", type=parsed("ID:FILE", _signing_key), required=True, help=SIGNING_KEY_HELP
)
@talks
async def sign_request(
    server: Server,
    retry: RetryPolicy,
    user: int,
    increment: int,
    secret_file: Path | None,
    signing_key: SigningKey,
) -> int:
    """Print a signed submission as a configuration file for curl.

    scoreboard sign … | curl -K -   sends it. It is good for five minutes; sent twice it counts
    once.
    """
    del retry
    token = server.token(secret_file, user)
    body = msgspec.json.encode({"userId": user, "increment": increment})
    url = server.url.rstrip("/") + contract.UPDATE_PATH
    headers = sign(
        method="POST",
        url=url,
        headers={
            "Authorization": f"Bearer {token if isinstance(token, str) else token()}",
            "Content-Type": "application/json",
        },
        body=body,
        key=signing_key,
        created_s=int(time.time()),
        nonce=secrets.token_urlsafe(16),
    )
    # curl's configuration file: a quoted value escapes quotes and backslashes.
    for option, value in (
        ("url", url),
        *(("header", f"{name}: {value}") for name, value in headers.items()),
        ("data", body.decode()),
    ):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        print(f'{option} = "{quoted}"')
    return GOOD


def _fields(event: StreamEvent) -> dict[str, object]:
    if isinstance(event, Update):
        return {
            "event": "update",
            "seq": event.seq,
            "user": event.user,
            "score": event.score,
            "userId": event.user_id,
            "committedUs": event.committed_us,
            **({"removed": True} if event.removed else {}),
        }
    return {"event": type(event).__name__.lower(), "seq": event.seq, "scores": event.scores}


def print_fields(**fields: object) -> None:
    """One JSON object on a line of its own."""
    print(msgspec.json.encode(fields).decode(), flush=True)
