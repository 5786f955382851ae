"""What a server's requests and answers look like, as values that travel to load processes.

Everything that a target file names (keys, certificates, users) is inside, so that a load process on
another machine needs no file. The defaults are the specification's API. Reading it from a file is
`harness.targets.target_file`; what becomes of it is `requests` and `answers`.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from harness.targets.fields import KEY, VALUE, parse_path, rows_at, user_and_score
from harness.targets.namesakes import Labels, id_in, labelled
from scoreboard import contract

Pairs = tuple[tuple[str, str], ...]
"""Names and templates of headers, cookies or query parameters, in order."""
JSON, FORM, TEXT, NONE = "json", "form", "text", ""
"""Kinds of bodies."""
Ranges = tuple[tuple[int, int], ...]
"""Statuses, from and to."""
BEARER = "Bearer {token}"
OK, FAIL, UNKNOWN = "ok", "fail", "unknown"


class BadAddress(ValueError):
    """The text is no address of a server; the message has the form that is right."""


class Address(msgspec.Struct, frozen=True):
    """Where a server is: `http` or `https`, and the path before all others, without last slash."""

    scheme: str
    host: str
    port: int
    base: str = ""

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.scheme == "https"

    @property
    def host_header(self) -> str:
        """The `Host` field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """As a person would write it, without a slash at the end."""
        return f"{self.scheme}://{self.host_header}{self.base}"


def parse_address(text: str) -> Address:
    """The address in `http[s]://host[:port][/path]`. Raises BadAddress."""
    form = f"must look like http://host:port or https://host:port/path, not {text!r}"
    try:
        parts = urlsplit(text if "//" in text else f"http://{text}")
        port = parts.port
        if port is None:
            port = 443 if parts.scheme == "https" else 80
        # As it is looked up; an empty or too long part of a name is a UnicodeError.
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise BadAddress(form) from None
    if parts.scheme in ("h2", "h2c"):
        raise BadAddress(HTTP2)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadAddress(form)
    if port == 0 or any(mark in text for mark in " ?#@"):
        raise BadAddress(form)
    return Address(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))


HTTP2 = "HTTP/2 is not supported: give an address that speaks HTTP/1.1, such as a proxy before it"


class Tls(msgspec.Struct, frozen=True):
    """How to trust the server and be trusted. Certificates and keys are PEM texts."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    key_password: str = ""
    server_name: str = ""
    insecure: bool = False

    def __repr__(self) -> str:
        return f"Tls(server_name={self.server_name!r}, insecure={self.insecure})"


class Token(msgspec.Struct, frozen=True):
    """How to mint a JSON Web Token for each user; the claims are templates."""

    algorithm: str
    key: str
    claims: Any
    header: Any = {}

    def __repr__(self) -> str:
        return f"Token(algorithm={self.algorithm!r})"


class Users(msgspec.Struct, frozen=True):
    """Who submits: rows of a file, or numbers. `id`, `name` and `token` are templates."""

    id: str = "{number}"
    name: str = ""
    token: str = ""
    rows: tuple[dict[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Users({len(self.rows)} rows)"


class Call(msgspec.Struct, frozen=True):
    """One kind of request. `path` follows the address's base."""

    method: str
    path: str
    query: Pairs = ()
    headers: Pairs = ()
    cookies: Pairs = ()
    kind: str = NONE
    body: Any = None


class Submit(msgspec.Struct, frozen=True):
    """The submission, and what its answers mean.

    A status in none of the three is a refusal from 400 to 499, else unknown. `when` are values
    that an accepted answer's JSON has; any other is a refusal. `increments` are the least and the
    most that the server takes; None for the harness's own.
    """

    call: Call
    accepted: Ranges = ((200, 299),)
    refused: Ranges = ()
    unknown: Ranges = ()
    when: tuple[tuple[str, Any], ...] = ()
    id: str = ""
    increments: tuple[int, int] | None = None

    def outcome(self, status: int) -> str:
        """What a status means: ok, fail (certainly without effect) or unknown."""
        for ranges, meaning in (
            (self.accepted, OK),
            (self.refused, FAIL),
            (self.unknown, UNKNOWN),
            (((400, 499),), FAIL),
        ):
            if any(low <= status <= high for low, high in ranges):
                return meaning
        return UNKNOWN


UsersAndScores = list[tuple[str, int]]


Ids = list[int | None]


class Rows(msgspec.Struct, frozen=True):
    """Where users and scores stand in JSON: paths of the list and of the two fields of its rows.

    Without a list the value itself is one row, or the list of them where it is one.
    """

    list: str = ""
    user: str = "user"
    score: str = "score"

    def read(self, value: Any, labels: Labels | None = None) -> UsersAndScores:
        """Users and scores, in order. Raises `fields.Absent` where one is missing."""
        user, score = parse_path(self.user), parse_path(self.score)
        found = [user_and_score(row, user, score) for row in self._rows(value)]
        return labelled(found, self.ids(value), labels) if labels else found

    def ids(self, value: Any) -> Ids:
        """The user ids in the same rows, where they have some."""
        return [id_in(row) for row in self._rows(value)]

    def _rows(self, value: Any) -> Iterable[Any]:
        user, score = parse_path(self.user), parse_path(self.score)
        # An index into the value itself makes a list one row.
        is_row = not isinstance(value, list) or (len(user) > 0 and isinstance(user[0], int))
        if not self.list and is_row:
            return [value]
        members = {KEY, VALUE} & {*user, *score} != set()
        return rows_at(value, parse_path(self.list), members=members)


class Scores(msgspec.Struct, frozen=True):
    """The read of the board."""

    call: Call
    rows: Rows = Rows(list="$")
    accepted: Ranges = ((200, 200),)

    @property
    def pages(self) -> bool:
        """Whether a read can ask for what follows the first rows."""
        return any("{offset}" in value for _, value in self.call.query)


class Stream(msgspec.Struct, frozen=True):
    """The stream of events: which names show scores, and where in their data."""

    call: Call
    rows: Rows = Rows()
    events: tuple[str, ...] = ("update",)


class Description(msgspec.Struct, frozen=True):
    """A server. `name` is for people; empty means its address."""

    address: Address
    submit: Submit
    scores: Scores
    stream: Stream
    users: Users = Users()
    token: Token | None = None
    tls: Tls = Tls()
    name: str = ""

    @property
    def needs_token(self) -> bool:
        """Whether any request has a place for a token."""
        return self.token is not None or bool(self.users.token)


def specified_submit() -> Call:
    """The submission of the specification, with the key that makes a repetition harmless."""
    return Call(
        method="POST",
        path=contract.UPDATE_PATH,
        headers=((contract.IDEMPOTENCY_HEADER, "{key}"),),
        kind=JSON,
        body={"userId": "{user}", "increment": "{increment}"},
    )


def specified_scores() -> Call:
    """The read of the specification; the page is an addition that other servers ignore."""
    return Call(
        method="GET",
        path=contract.SCORES_PATH,
        query=(("limit", "{limit}"), ("offset", "{offset}")),
    )


def without_pages(server: Description) -> Description:
    """The same server, its board read without a query, unless a file names another one."""
    scores, replace = server.scores, msgspec.structs.replace
    if scores.call.query != specified_scores().query:
        return server
    return replace(server, scores=replace(scores, call=replace(scores.call, query=())))


def specified_stream() -> Call:
    """The stream of the specification."""
    return Call(method="GET", path=contract.STREAM_PATH)


def with_bearer(call: Call) -> Call:
    """The same call with the token where the specification has it."""
    return msgspec.structs.replace(call, headers=(*call.headers, ("Authorization", BEARER)))


def with_stream_token(server: Description) -> Description:
    """The same server with the token on its streams, where no place was named for it."""
    call, replace = server.stream.call, msgspec.structs.replace
    places = [call.path, *(value for _, value in (*call.query, *call.headers, *call.cookies))]
    if not server.needs_token or any("{token" in place for place in places):
        return server
    return replace(server, stream=replace(server.stream, call=with_bearer(call)))


def default_description(address: Address, token: Token | None = None) -> Description:
    """A server that is as specified, at an address that the plain path cannot reach."""
    return Description(
        address=address,
        submit=Submit(call=with_bearer(specified_submit())),
        scores=Scores(call=specified_scores()),
        stream=Stream(call=specified_stream()),
        token=token,
    )
