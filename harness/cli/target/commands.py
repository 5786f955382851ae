"""`scoreboard target init URL` and `scoreboard target check FILE`. Neither loads a server."""

import http.client
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import click

from harness.capabilities import describe
from harness.measure.settings import RunSettings
from harness.net.preflight import preflight
from harness.net.target import Target, TargetError, described_target
from harness.targets.description import Rows, default_description, parse_address
from harness.targets.first_file import Seen, first_file
from harness.targets.requests import StreamRequests, Submissions, read_request
from harness.targets.target_file import environment_values
from harness.traffic.credentials import credentials
from harness.wrong_use import HOST, described, reachable, warn_if_insecure, writable_file
from scoreboard import contract
from scoreboard_cli.group import COULD_NOT_TELL, GOOD, CommandError, command, group, refuse
from scoreboard_cli.types import FILE, parsed

MOMENT_S = 1.0
"""How long `init` listens for a first event."""
TIMEOUT_S = 5.0
NOT_FOUND = 404
SECRET_FROM = 5
"""Characters; a shorter value is no secret, and would be found where it does not stand."""


def _path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text) or any(mark in text for mark in "?#"):
        raise ValueError("must be a path without a query, such as /api/leaderboard")
    return text


PATH = parsed("PATH", _path)


@group("target")
def target() -> None:
    """Describe a server that is not as specified (docs/targets.md)."""


@command("init")
@click.argument("url", type=HOST)
@click.option(
    "--scores", type=PATH, default=contract.SCORES_PATH, help="The board's path (/scores)."
)
@click.option(
    "--stream",
    type=PATH,
    default=contract.STREAM_PATH,
    help="The stream's path (/scores/stream).",
)
@click.option("--output", type=FILE, help="Write to this file, which must not exist (stdout).")
def init(url: str, scores: str, stream: str, output: Path | None) -> int:
    """Write a first target file for the server at URL, from what it shows without a token.

    Asks for the board, sends one POST without content or token, and listens for a second: the
    fields of events are found if a score changes meanwhile.

    Exit codes: 0 written, 2 wrong use, 3 no server answers.
    """
    if output is not None:
        writable_file("--output", output)
    reachable(url)
    server = default_description(parse_address(url))
    found = _seen(Target(base_url=url, server=server), scores, stream)
    if not any((found.board_status, found.stream_status, found.submit_status)):
        raise CommandError(f"nothing at {url} answers HTTP/1.1{_why(url)}", COULD_NOT_TELL)
    text = first_file(parse_address(url).url, found)
    for option, path, status in (
        ("--scores", scores, found.board_status),
        ("--stream", stream, found.stream_status),
    ):
        if status == NOT_FOUND:
            print(f"nothing is at {path} (404): {option} names its path", file=sys.stderr)
    if output is None:
        print(text, end="")
        return GOOD
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        refuse(f"--output {output}: {error.strerror}")
    print(f"wrote {output}; complete it, then: scoreboard target check {output}", file=sys.stderr)
    return GOOD


@command("check")
@click.argument("file", type=FILE)
@click.option("--host", type=HOST, help="The address, in place of the file's.")
def check(file: Path, host: str | None) -> int:
    """Read FILE, ask its server what a run asks before any load, and show the requests.

    Nothing is submitted. Secrets are shortened.

    Exit codes: 0 a run can begin, 2 the file has faults, 3 the server does not answer as described.
    """
    server = described(str(file), host, said_as="")
    assert server is not None
    warn_if_insecure(server)
    reachable(server.address.url)
    try:
        found = described_target(str(file), host=host, mysql_url="", environ=os.environ)
        known = credentials(found, replace(RunSettings(), players=1), int(time.time()))
        shown = preflight(known.target, user=known.users[1], stream_token="")
    except TargetError as error:
        raise CommandError(str(error), COULD_NOT_TELL) from None
    user, server = known.users[1], known.target.as_shown(shown).server or server
    print("\n".join(describe(shown)))
    submission = Submissions(server, known.users, run_id="check").make(1, 1, 10)
    secrets = [str(user.get("token", "")), *environment_values(file, os.environ)]
    _print("a submission of 10 points", submission, secrets)
    _print("a read of the board", read_request(server, user, limit=10, offset=0), secrets)
    _print("a listener", StreamRequests(server).make(user), secrets)
    events = " or ".join(server.stream.events)
    print(f"an event that shows a score ({events}):\n  data: {_example(server.stream.rows)}")
    return GOOD


target.add_command(init)
target.add_command(check)


def _seen(found: Target, scores: str, stream_path: str) -> Seen:
    server = found.server
    assert server is not None
    host = server.address.host_header
    base = server.address.base
    board = _answer(found, f"GET {base}{scores} HTTP/1.1\r\nHost: {host}\r\n\r\n")
    post = (
        f"POST {base}{contract.UPDATE_PATH} HTTP/1.1\r\nHost: {host}\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    stream = (
        f"GET {base}{stream_path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n"
    )
    shown = _answer(found, stream, moment_s=MOMENT_S)
    return Seen(*board, _answer(found, post)[0], *shown, scores, stream_path)


def _answer(found: Target, request: str, moment_s: float = 0.0) -> tuple[int, bytes]:
    """Status and body, of a stream what came in a moment; 0 where there was no answer."""
    try:
        with found.connect(TIMEOUT_S) as connection:
            connection.sendall(request.encode())
            with http.client.HTTPResponse(connection) as answer:
                answer.begin()
                if not moment_s or answer.status != 200:
                    return answer.status, answer.read()
                return answer.status, _moment(connection, answer, moment_s)
    except (OSError, http.client.HTTPException):
        return 0, b""


def _why(url: str) -> str:
    """What TLS says of a server that answered nothing, with where to go on."""
    try:
        Target(base_url=url, server=default_description(parse_address(url))).connect(TIMEOUT_S)
    except OSError as error:
        return f": {error}"
    return ""


def _moment(connection: object, answer: http.client.HTTPResponse, moment_s: float) -> bytes:
    body, end = b"", time.monotonic() + moment_s
    connection.settimeout(moment_s)  # type: ignore[attr-defined]
    try:
        while time.monotonic() < end and (part := answer.read1(65536)):
            body += part
    except (OSError, http.client.HTTPException):
        pass
    return body


def _print(what: str, request: bytes, secrets: Sequence[str]) -> None:
    text = request.decode("utf-8", "replace")
    for secret in secrets:
        if len(secret) < SECRET_FROM:
            continue
        # As it stands in a header, in a path or query, and in JSON.
        for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}:
            text = text.replace(form, f"{secret[: min(12, len(secret) // 4)]}…")
    shown = "\n".join(f"  {line}" for line in text.rstrip().splitlines())
    print(f"{what}:\n{shown}\n")


def _example(rows: Rows) -> str:
    """JSON with a user and a score where they are expected."""
    row: object = {}
    if rows.user.startswith("["):
        row = ["Alice", 1510]
    else:
        assert isinstance(row, dict)
        for path, value in ((rows.user, "Alice"), (rows.score, 1510)):
            place = row
            *steps, last = path.removeprefix("$.").split(".")
            for step in steps:
                place = place.setdefault(step, {})
            place[last] = value
    for step in reversed([s for s in rows.list.removeprefix("$").split(".") if s]):
        row = {step: [row] if isinstance(row, dict | list) else row}
    return json.dumps(row)
