"""Writes a first target file from what a server showed; the rest stands as comments. Pure."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from harness.targets.description import Rows

USER_NAMES = ("user", "name", "nick", "username", "player", "userName", "userId", "id")
SCORE_NAMES = ("score", "points", "total", "value", "sum")
_EVENT = re.compile(r"^event: ?(.*)$", re.MULTILINE)
_DATA = re.compile(r"^data: ?(.*)$", re.MULTILINE)


class Seen(NamedTuple):
    """What a server answered: statuses (0: no answer), a board's body, the start of a stream."""

    board_status: int = 0
    board: bytes = b""
    submit_status: int = 0
    stream_status: int = 0
    stream: bytes = b""


def first_file(url: str, seen: Seen) -> str:
    """The text of a target file for the server at `url`."""
    board = guessed(_json(seen.board))
    events = [*_events(seen.stream)]
    event = next((rows for _, data in events if (rows := guessed(_json(data.encode())))), None)
    names = list(dict.fromkeys(name for name, _ in events)) or ["update"]
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
        '# path = "/scores"',
        *_rows(board, Rows(list="$")),
        "",
        "[stream]" + _told(seen.stream_status, "GET"),
        '# path = "/scores/stream"',
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


def guessed(value: Any) -> Rows | None:
    """Where users and scores seem to stand in a JSON value, None when nowhere."""
    for path, rows in _lists(value, ""):
        row = rows[0] if rows else None
        if isinstance(row, dict):
            user = _likely(row, USER_NAMES, str) or _likely(row, USER_NAMES, int)
            score = _likely({k: v for k, v in row.items() if k != user}, SCORE_NAMES, int)
            if user and score:
                return Rows(list=path, user=user, score=score)
        if isinstance(row, list) and len(row) > 1 and isinstance(row[0], str):
            return Rows(list=path, user="[0]", score="[1]")
    return None


def _lists(value: Any, path: str) -> Iterator[tuple[str, Sequence[Any]]]:
    """Every list in a value with its path, and the value itself as a list of one."""
    if isinstance(value, list):
        yield path or "$", value
    elif isinstance(value, dict):
        if not path:
            yield "", [value]
        for name, inner in value.items():
            yield from _lists(inner, f"{path}.{name}" if path else name)


def _likely(row: dict[str, Any], names: Sequence[str], kind: type) -> str:
    fits = [name for name, v in row.items() if isinstance(v, kind) and not isinstance(v, bool)]
    return next((name for name in names if name in fits), fits[0] if fits else "")


def _events(stream: bytes) -> Iterator[tuple[str, str]]:
    text = stream.decode("utf-8", "replace").replace("\r\n", "\n")
    for block in text.split("\n\n"):
        data = "\n".join(_DATA.findall(block))
        if data and guessed(_json(data.encode())):
            names = _EVENT.findall(block)
            yield (names[-1].strip() if names else "message"), data


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
