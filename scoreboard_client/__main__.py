"""`python -m scoreboard_client submit|follow|top|sign`: the contract from a shell.

Results go to stdout, one JSON object per line (`top` prints a table unless asked),
everything else to stderr. Exit status: 0 done, 1 refused, unreachable or broken,
2 usage, 3 when a submission's effect is unknown.
"""

import argparse
import asyncio
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import msgspec

from scoreboard import contract, tokens
from scoreboard.signing import SigningKey, parse_key, sign
from scoreboard_client.client import DEFAULT_URL, ScoreboardClient
from scoreboard_client.errors import ClientError, EffectUnknown
from scoreboard_client.follow import StreamEvent, Update
from scoreboard_client.retry import RetryPolicy

TOKEN_TTL_S = 300
SIGNING_KEY_HELP = (
    "sign with this key: its id, and a file with the shared secret in base64 (HMAC-SHA256) "
    "or an Ed25519 private key in PEM"
)


class UsageError(Exception):
    """The arguments or the environment do not make a call."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scoreboard_client", description="Talk to a scoreboard."
    )
    parser.add_argument(
        "--url",
        default=os.environ.get("SCOREBOARD_URL", DEFAULT_URL),
        help=f"the server (SCOREBOARD_URL, or {DEFAULT_URL})",
    )
    parser.add_argument(
        "--deadline-s", type=float, default=30.0, help="give up retrying after this long (30)"
    )
    parser.add_argument("--verbose", action="store_true", help="say when and why it retries")
    commands = parser.add_subparsers(dest="command", required=True)

    submit = commands.add_parser(
        "submit",
        help="add points to a user",
        description="Add points to a user. The token comes from SCOREBOARD_TOKEN, or is made with "
        "the secret in --secret-file or SCOREBOARD_JWT_SECRET.",
    )
    submit.add_argument("--user", type=int, required=True, metavar="ID", help="the user's id")
    submit.add_argument("--increment", type=int, required=True, metavar="POINTS")
    submit.add_argument(
        "--key", help="Idempotency-Key; the same one again never counts twice (default: random)"
    )
    submit.add_argument("--secret-file", type=Path, help="file with the server's JWT secret")

    submit.add_argument("--signing-key", metavar="ID:FILE", help=SIGNING_KEY_HELP)

    signing = commands.add_parser(
        "sign",
        help="sign a submission for curl (RFC 9421)",
        description="Prints a signed submission as a configuration of curl: "
        "python -m scoreboard_client sign … | curl -K -. Good for five minutes; sent twice it "
        "counts once.",
    )
    signing.add_argument("--user", type=int, required=True, metavar="ID", help="the user's id")
    signing.add_argument("--increment", type=int, required=True, metavar="POINTS")
    signing.add_argument("--secret-file", type=Path, help="file with the server's JWT secret")
    signing.add_argument("--signing-key", metavar="ID:FILE", required=True, help=SIGNING_KEY_HELP)

    follow = commands.add_parser("follow", help="print every change of the board as it happens")
    follow.add_argument("--last-event-id", type=int, metavar="SEQ", help="continue after this one")
    follow.add_argument("--snapshot", action="store_true", help="begin with the top of the board")
    follow.add_argument("--count", type=int, metavar="N", help="stop after N events")

    top = commands.add_parser("top", help="print the board")
    top.add_argument("--limit", type=int, default=contract.TOP_DEFAULT)
    top.add_argument("--offset", type=int, default=0)
    top.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(message)s",
        stream=sys.stderr,
    )
    try:
        asyncio.run(_run(options))
    except (UsageError, ValueError) as error:
        print(f"scoreboard_client: {error}", file=sys.stderr)
        return 2
    except EffectUnknown as error:
        print(f"scoreboard_client: effect unknown: {error}", file=sys.stderr)
        return 3
    except ClientError as error:
        print(f"scoreboard_client: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


async def _run(options: argparse.Namespace) -> None:
    if options.command == "sign":
        _print_signed(options)
        return
    token = _token(options) if options.command == "submit" else None
    key = _signing_key(options.signing_key) if options.command == "submit" else None
    retry = RetryPolicy(deadline_s=options.deadline_s)
    async with ScoreboardClient(options.url, token=token, signing_key=key, retry=retry) as client:
        match options.command:
            case "submit":
                accepted = await client.submit(
                    user_id=options.user,
                    increment=options.increment,
                    idempotency_key=options.key,
                )
                _print(
                    submissionId=accepted.submission_id,
                    idempotencyKey=accepted.idempotency_key,
                    attempts=accepted.attempts,
                )
            case "top":
                top = await client.top(limit=options.limit, offset=options.offset)
                if options.json:
                    _print(seq=top.seq, scores=top.scores)
                else:
                    for place, line in enumerate(top.scores, options.offset + 1):
                        print(f"{place:>4}  {line.score:>12,}  {line.user}")
            case _:
                await _follow(client, options)


def _print_signed(options: argparse.Namespace) -> None:
    key = _signing_key(options.signing_key)
    assert key is not None, "argparse requires it"
    token = _token(options)
    body = msgspec.json.encode({"userId": options.user, "increment": options.increment})
    url = options.url.rstrip("/") + contract.UPDATE_PATH
    headers = sign(
        method="POST",
        url=url,
        headers={
            "Authorization": f"Bearer {token if isinstance(token, str) else token()}",
            "Content-Type": "application/json",
        },
        body=body,
        key=key,
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


def _signing_key(text: str | None) -> SigningKey | None:
    if text is None:
        return None
    key_id, separator, path = text.partition(":")
    if not separator:
        raise UsageError("--signing-key must be ID:FILE")
    try:
        return parse_key(key_id, Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"--signing-key: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--signing-key: {error}") from None


async def _follow(client: ScoreboardClient, options: argparse.Namespace) -> None:
    left = options.count
    if left is not None and left < 1:
        raise UsageError("--count must be above 0")
    async with aclosing(
        client.follow(last_event_id=options.last_event_id, snapshot=options.snapshot)
    ) as events:
        async for event in events:
            _print(**_fields(event))
            if left is not None:
                left -= 1
                if not left:
                    return


def _fields(event: StreamEvent) -> dict[str, object]:
    if isinstance(event, Update):
        return {
            "event": "update",
            "seq": event.seq,
            "user": event.user,
            "score": event.score,
            "committedUs": event.committed_us,
        }
    return {"event": type(event).__name__.lower(), "seq": event.seq, "scores": event.scores}


def _print(**fields: object) -> None:
    print(msgspec.json.encode(fields).decode(), flush=True)


def _token(options: argparse.Namespace) -> str | Callable[[], str]:
    if token := os.environ.get("SCOREBOARD_TOKEN", "").strip():
        return token
    if options.secret_file:
        try:
            secret = options.secret_file.read_bytes().strip()
        except OSError as error:
            raise UsageError(f"--secret-file: {error.strerror}") from error
    else:
        secret = os.environ.get("SCOREBOARD_JWT_SECRET", "").strip().encode()
    if not secret:
        raise UsageError("set SCOREBOARD_TOKEN, or SCOREBOARD_JWT_SECRET, or give --secret-file")
    if len(secret) < tokens.MIN_SECRET_BYTES:
        raise UsageError(f"the secret must have at least {tokens.MIN_SECRET_BYTES} bytes")

    def minted() -> str:
        # Anew for every attempt: a call that retries for long must not outlive its token.
        return tokens.mint(
            secret, subject=str(options.user), now_s=int(time.time()), ttl_s=TOKEN_TTL_S
        )

    return minted


if __name__ == "__main__":
    sys.exit(main())
