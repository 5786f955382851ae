"""The server under test: address, credentials, and access to its database.

A running stack is found by its state file; any other server by its address. The
harness imports nothing of the stack.
"""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.net.http_wire import parse_base_url
from scoreboard import contract
from scoreboard.tokens import MIN_SECRET_BYTES, mint

TOKEN_TTL_S = 24 * 3600
HTTP_TIMEOUT_S = 5.0
PAGE = 100
LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]", "0.0.0.0"}  # names, not binds


class TargetError(Exception):
    """The server cannot be used; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server. Empty strings and bytes stand for unknown values."""

    base_url: str
    mysql_url: str = field(default="", repr=False)
    secret: bytes = field(default=b"", repr=False)
    state: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port, _ = parse_base_url(self.base_url)
        return host, port

    @property
    def host_header(self) -> str:
        """The `Host` field."""
        return parse_base_url(self.base_url)[2]

    def tokens(self, players: int, now_s: int) -> dict[int, str]:
        """A token per user 1..players, each for its own user. Raises TargetError without a secret.

        About 20 µs each.
        """
        if len(self.secret) < MIN_SECRET_BYTES:
            raise TargetError(
                f"no secret to sign tokens for {self.base_url}: set SCOREBOARD_JWT_SECRET to the "
                "server's"
            )
        return {
            user: mint(self.secret, subject=str(user), now_s=now_s, ttl_s=TOKEN_TTL_S)
            for user in range(1, players + 1)
        }


def state_path(environ: Mapping[str, str], folder: Path) -> Path:
    """Where a stack started in `folder` keeps its state file."""
    return Path(environ.get("SCOREBOARD_DATA_DIR") or folder / ".scoreboard") / "state.json"


def read_state(path: Path) -> dict[str, Any] | None:
    """The state of a running stack, None when there is none that is ready."""
    try:
        state = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not state.get("ready") or not Path(f"/proc/{state.get('supervisor_pid')}").exists():
        return None
    return dict(state)


def target_of_state(state: Mapping[str, Any]) -> Target:
    """The server of a running stack. Raises TargetError when its secret cannot be read."""
    try:
        secret = Path(state["jwt_secret_file"]).read_bytes().strip()
    except (OSError, KeyError) as error:
        raise TargetError(f"cannot read the stack's JWT secret: {error}") from error
    return Target(
        base_url=state["base_url"],
        mysql_url=state.get("urls", {}).get("mysql", ""),
        secret=secret,
        state=dict(state),
    )


def find_target(
    *, host: str | None, mysql_url: str, environ: Mapping[str, str], folder: Path
) -> Target | None:
    """The server to test: the given host, else a running stack, else None.

    A host that is the running stack's own address gets all that the stack lets
    us see. Raises TargetError for a host that is no base URL.
    """
    state = read_state(state_path(environ, folder))
    if state is not None and (host is None or _same_server(host, state["base_url"])):
        return target_of_state(state)
    if host is None:
        return None
    try:
        parse_base_url(host)
    except ValueError as error:
        raise TargetError(str(error)) from error
    return Target(
        base_url=host if "//" in host else f"http://{host}",
        mysql_url=mysql_url or environ.get("SCOREBOARD_MYSQL_URL", ""),
        # A server that checks no token (the null server) takes any; a real one answers 401.
        secret=environ.get("SCOREBOARD_JWT_SECRET", "0" * MIN_SECRET_BYTES).encode(),
    )


def _same_server(one: str, other: str) -> bool:
    """Whether two base URLs name one server; every name of this machine is the same."""
    try:
        places = [parse_base_url(url)[:2] for url in (one, other)]
    except ValueError:
        return False
    (host, port), (other_host, other_port) = places
    same_host = host == other_host or {host, other_host} <= LOOPBACK
    return port == other_port and same_host


@dataclass(frozen=True, kw_only=True)
class Page:
    """One answer of GET /scores: the rows and the seq they contain (-1 when not told)."""

    seq: int
    rows: list[tuple[str, int]]


def get_scores(target: Target, *, limit: int = contract.TOP_DEFAULT, offset: int = 0) -> Page:
    """Read a page of the board. Raises OSError (also for an answer that is not 200)."""
    connection = http.client.HTTPConnection(*target.address, timeout=HTTP_TIMEOUT_S)
    try:
        connection.request("GET", f"{contract.SCORES_PATH}?limit={limit}&offset={offset}")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise OSError(f"GET {contract.SCORES_PATH} answered {answer.status}")
        rows = [(str(row["user"]), int(row["score"])) for row in json.loads(body)]
        return Page(seq=int(answer.getheader(contract.SEQ_HEADER, "-1")), rows=rows)
    except (http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise OSError(f"GET {contract.SCORES_PATH}: {error}") from error
    finally:
        connection.close()


def get_board(target: Target, *, most: int, deadline_s: float = 10.0) -> Page | None:
    """The first `most` rows at one seq, None while the board never stands still. Raises OSError."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        rows: list[tuple[str, int]] = []
        first = page = get_scores(target, limit=PAGE)
        rows += page.rows
        while len(page.rows) == PAGE and len(rows) < most and page.seq == first.seq:
            page = get_scores(target, limit=PAGE, offset=len(rows))
            rows += page.rows
        if page.seq == first.seq:
            return Page(seq=first.seq, rows=rows)
    return None
