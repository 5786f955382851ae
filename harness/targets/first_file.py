"""Writes a first target file from what a server showed; the rest stands as comments. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from harness.targets.description import Rows
from harness.targets.guesses import guessed
from scoreboard import contract

_EVENT = re.compile(r"^event: ?(.*)$", re.MULTILINE)
_DATA = re.compile(r"^data: ?(.*)$", re.MULTILINE)


class Seen(NamedTuple):
    """What a server answered: statuses (0: no answer), a board's body, the start of a stream.

    The paths follow the base path.
    """

    board_status: int = 0
    board: bytes = b""
    submit_status: int = 0
    stream_status: int = 0
    stream: bytes = b""
    board_path: str = contract.SCORES_PATH
    stream_path: str = contract.STREAM_PATH


def first_file(url: str, seen: Seen) -> str:
    """The text of a target file for the server at `url`."""
    board = guessed(_json(seen.board))
    events = [*_events(seen.stream)]
    forms = [rows for _, rows in events]
    # Another form is another kind of event: a run reads one.
    event = next((f for f in forms if board and _fields(f) == _fields(board)), None)
    event = event or max(forms, key=forms.count, default=None)
    names = list(dict.fromkeys(name for name, rows in events if rows == event)) or ["update"]
    needs_token = 401 in (seen.submit_status, seen.stream_status, seen.board_status)
    stream_token = "true" if seen.stream_status in (401, 403) else "false"
    lines = [
        "# A target file (docs/targets.md). Lines that begin with # are examples or defaults.",
        f"url = {_toml(url)}",
        '# headers = { X-Api-Key = "{env:API_KEY}" }     # of every request',
        '# cookies = { session = "{token}" }',
        "",
        "[submit]" + _told(seen.submit_status, "an empty POST without token"),
        '# method = "POST"',
        '# path = "/scores/update"                       # {user}, {name}: of the user who submits',
        '# json = { userId = "{user}", increment = "{increment}" }',
        '# form = { user = "{user}", points = "{increment}" }   # or body = "text", in its place',
        '# accepted = ["2xx"]                            # refused = ["4xx"], unknown = the others',
        "# when = { ok = true }                          # what an accepted answer must hold",
        '# id = "submissionId"                           # where its answer names the submission',
        '# increments = "1-10"                           # what it takes (49-97)',
        "",
        "[scores]" + _told(seen.board_status, "GET"),
        _path(seen.board_path, contract.SCORES_PATH),
        *_rows(board, Rows(list="$")),
        *(["auth = true"] if seen.board_status in (401, 403) else []),
        "",
        "[stream]" + _told(seen.stream_status, "GET"),
        _path(seen.stream_path, contract.STREAM_PATH),
        f"events = {json.dumps(names)}" + ("" if events else "   # none was seen"),
        *_rows(event, Rows()),
        f"auth = {stream_token}",
        "",
        "[users]",
        '# file = "users.csv"                            # its first line names the columns',
        '# id = "{number}"                               # or "{id}", a column',
        '# name = "Player {number}"                      # as board and events show it',
        "",
        f"{'' if needs_token else '# '}[token]",
        f'{"" if needs_token else "# "}secret = "{{env:SCOREBOARD_JWT_SECRET}}"',
        '# algorithm = "RS256"                           # with key_file = "private.pem"',
        '# claims = { sub = "{user:text}", iat = "{now}", exp = "{now+86400}" }',
    ]
    if url.startswith("https"):
        lines += [
            "",
            "[tls]",
            '# ca_file = "ca.pem"',
            '# cert_file = "client.pem"                      # key_file = "client-key.pem"',
            '# server_name = "scores.internal"',
        ]
    return "\n".join(lines) + "\n"


def _path(path: str, specified: str) -> str:
    return f"{'# ' if path == specified else ''}path = {_toml(path)}"


def _fields(rows: Rows) -> tuple[str, str]:
    return rows.user, rows.score


def _events(stream: bytes) -> Iterator[tuple[str, Rows]]:
    """Name and form of each whole event that seems to show a score."""
    text = stream.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        rows = guessed(_json("\n".join(_DATA.findall(block)).encode()))
        if rows is not None:
            names = _EVENT.findall(block)
            yield (names[-1].strip() if names else "message"), rows


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return None


def _rows(found: Rows | None, default: Rows) -> list[str]:
    shown = found or default
    return [
        f"{'' if found else '# '}{name} = {_toml(getattr(shown, name))}"
        for name in ("list", "user", "score")
        if getattr(shown, name)
    ]


def _told(status: int, what: str) -> str:
    return f"   # {what} was answered with {status}" if status else f"   # {what} had no answer"


def _toml(text: str) -> str:
    return json.dumps(text)
