"""The server under test: address, credentials, and access to its database.

A running stack is found by its state file; any other server by its address or by a target file
(`harness.targets`). The harness imports nothing of the stack.
"""

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.capabilities import Capabilities
from harness.net.exchange import exchange
from harness.net.http_wire import parse_base_url
from harness.net.tls import context_of, reason_of_tls, server_name
from harness.targets.answers import SPECIFIED_SCORES, read_board
from harness.targets.description import (
    BadAddress,
    Description,
    Scores,
    Token,
    default_description,
    parse_address,
    without_pages,
)
from harness.targets.namesakes import Labels
from harness.targets.requests import read_request
from harness.targets.target_file import BadTarget, read_target_file
from harness.targets.template import BadTemplate, Value
from harness.targets.users import DEFAULT_CLAIMS, BadToken, user_values
from scoreboard import contract
from scoreboard.tokens import AUDIENCE, ISSUER, MIN_SECRET_BYTES, mint
from scoreboard_cli.running_stack import data_folder, ready_state

TOKEN_TTL_S = 24 * 3600
HTTP_TIMEOUT_S = 5.0
PAGE = 100
LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]", "0.0.0.0"}  # names, not binds


class TargetError(Exception):
    """The server cannot be used; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server. Empty strings and bytes stand for unknown values.

    `server` describes one that is not as specified, or that the plain path cannot reach.
    """

    base_url: str
    server: Description | None = None
    mysql_url: str = field(default="", repr=False)
    secret: bytes = field(default=b"", repr=False)
    state: Mapping[str, Any] = field(default_factory=dict, repr=False)
    pages: bool = True
    """Reads of the board ask for a page."""
    labels: Labels | None = None
    """What players who share a name are called; None before anybody looked."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        if self.server is not None:
            return self.server.address.host, self.server.address.port
        host, port, _ = parse_base_url(self.base_url)
        return host, port

    @property
    def host_header(self) -> str:
        """The `Host` field."""
        if self.server is not None:
            return self.server.address.host_header
        return parse_base_url(self.base_url)[2]

    def connect(self, timeout_s: float) -> socket.socket:
        """A connection for one request. Raises OSError."""
        plain = socket.create_connection(self.address, timeout_s)
        server = self.server
        if server is None or not server.address.secure:
            return plain
        try:
            return context_of(server.tls).wrap_socket(plain, server_hostname=server_name(server))
        except OSError as error:
            plain.close()
            if isinstance(error, ssl.SSLError):
                raise ConnectionError(reason_of_tls(error)) from None
            raise

    @property
    def described(self) -> bool:
        """Whether a file says how its board is read: nobody promised the ten best then."""
        if self.server is None:
            return False
        call, specified = self.server.scores.call, SPECIFIED_SCORES.call
        return call.path != specified.path or call.query not in ((), specified.query)

    def as_shown(self, shown: Capabilities) -> "Target":
        """The same server, asked for pages only where it showed that it takes them: another one
        may refuse a query that it does not know."""
        pages = bool(shown.limit or shown.sequence_header)
        server = self.server
        if server is not None and not pages:
            server = without_pages(server)
        return replace(self, pages=pages, server=server)

    def with_labels(self, labels: Labels) -> "Target":
        """The same server, whose players who share a name are called by these labels."""
        return replace(self, labels=labels)

    def users(self, players: int, now_s: int) -> dict[int, dict[str, Value]]:
        """The described users 1..players with their tokens. Raises TargetError."""
        if self.server is None:
            return {}
        try:
            return user_values(self.server, players, now_s)
        except (BadToken, BadTemplate) as error:
            raise TargetError(str(error)) from None

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


def target_of_state(state: Mapping[str, Any]) -> Target:
    """The server of a running stack. Raises TargetError when its secret cannot be read."""
    try:
        secret = Path(state["jwt_secret_file"]).read_bytes().strip()
    except (OSError, KeyError, ValueError) as error:
        # A ValueError where the locale cannot write the folder's name.
        raise TargetError(f"cannot read the stack's JWT secret: {error}") from error
    return Target(
        base_url=state["base_url"],
        mysql_url=state.get("urls", {}).get("mysql", ""),
        secret=secret,
        state=dict(state),
    )


def find_target(
    *,
    host: str | None,
    mysql_url: str,
    environ: Mapping[str, str],
    folder: Path,
    target_file: str = "",
) -> Target | None:
    """The server to test: the given one, else a running stack, else None.

    A host that is the running stack's own address gets all that the stack lets us see. With a
    target file a host replaces the address in it. Raises TargetError for a wrong host or file.
    """
    if target_file:
        return described_target(target_file, host=host, mysql_url=mysql_url, environ=environ)
    state = ready_state(data_folder(environ, folder))
    if state is not None and (host is None or _same_server(host, state["base_url"])):
        return target_of_state(state)
    if host is None:
        return None
    try:
        address = parse_address(host)
    except BadAddress as error:
        raise TargetError(f"--host {error}") from error
    # A server that checks no token (the null server) takes any; a real one answers 401.
    secret = environ.get("SCOREBOARD_JWT_SECRET", "0" * MIN_SECRET_BYTES)
    server = None
    if address.secure or address.base:
        claims = {"iss": ISSUER, "aud": AUDIENCE, **DEFAULT_CLAIMS}
        server = default_description(address, Token(algorithm="HS256", key=secret, claims=claims))
    return Target(
        base_url=address.url,
        server=server,
        mysql_url=mysql_url or environ.get("SCOREBOARD_MYSQL_URL", ""),
        secret=secret.encode(),
    )


def described_target(
    target_file: str, *, host: str | None, mysql_url: str, environ: Mapping[str, str]
) -> Target:
    """The server of a target file. Raises TargetError with a line for each fault."""
    try:
        server = read_target_file(Path(target_file), environ, host=host or "")
    except BadTarget as error:
        raise TargetError(str(error)) from None
    return Target(
        base_url=server.address.url,
        server=server,
        mysql_url=mysql_url or environ.get("SCOREBOARD_MYSQL_URL", ""),
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
    """One answer of GET /scores: the rows, the seq they contain (-1 when not told), and the user
    ids of the rows where it has those."""

    seq: int
    rows: list[tuple[str, int]]
    ids: list[int | None] = field(default_factory=list)


def _page(target: Target, scores: Scores, seq: str, body: bytes) -> Page:
    rows, ids = read_board(scores, body, target.labels)
    return Page(seq=int(seq), rows=rows, ids=ids)


def get_scores(target: Target, *, limit: int = contract.TOP_DEFAULT, offset: int = 0) -> Page:
    """Read a page of the board. Raises OSError (also for an answer that is not 200)."""
    if target.server is not None:
        return _get_described(target, target.server, limit=limit, offset=offset)
    path = contract.SCORES_PATH + (f"?limit={limit}&offset={offset}" if target.pages else "")
    request = f"GET {path} HTTP/1.1\r\nHost: {target.host_header}\r\n\r\n".encode()
    try:
        with target.connect(HTTP_TIMEOUT_S) as connection:
            answer = exchange(connection, request, timeout_s=HTTP_TIMEOUT_S)
        if answer.status != 200:
            raise OSError(f"GET {contract.SCORES_PATH} answered {answer.status}")
        seq = answer.getheader(contract.SEQ_HEADER, "-1")
        return _page(target, SPECIFIED_SCORES, seq, answer.body)
    except ValueError as error:
        raise OSError(f"GET {contract.SCORES_PATH}: {error}") from error


def _get_described(target: Target, server: Description, *, limit: int, offset: int) -> Page:
    what = f"{server.scores.call.method} {server.scores.call.path}"
    user = next(iter(target.users(1, int(time.time())).values()), {})
    try:
        request = read_request(server, user, limit=limit, offset=offset)
        with target.connect(HTTP_TIMEOUT_S) as connection:
            answer = exchange(connection, request, timeout_s=HTTP_TIMEOUT_S)
        if not any(low <= answer.status <= high for low, high in server.scores.accepted):
            raise OSError(f"{what} answered {answer.status}")
        seq = answer.getheader(contract.SEQ_HEADER, "-1")
        return _page(target, server.scores, seq, answer.body)
    except (ValueError, BadTemplate) as error:
        raise OSError(f"{what}: {error}") from error


def get_board(target: Target, *, most: int, deadline_s: float = 10.0) -> Page | None:
    """The first `most` rows at one seq, None while the board never stands still. Raises OSError."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        first = page = get_scores(target, limit=PAGE)
        rows, ids = list(page.rows), list(page.ids)
        pages = target.server is None or target.server.scores.pages
        while pages and len(page.rows) == PAGE and len(rows) < most and page.seq == first.seq:
            page = get_scores(target, limit=PAGE, offset=len(rows))
            if page.rows == first.rows:
                # The server does not honour the offset.
                break
            rows += page.rows
            ids += page.ids
        if page.seq == first.seq:
            return Page(seq=first.seq, rows=rows, ids=ids)
    return None
