"""Builds the bytes of requests from a description: submissions, reads and streams. Pure.

What a user fixes is rendered once per user; a submission then costs about 4 µs. Servers without a
target file have a faster path of their own (`harness.net.http_wire`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.targets import template
from harness.targets.description import FORM, JSON, NONE, Address, Call, Description
from harness.targets.template import BadTemplate, Moment, Program, Value
from scoreboard import contract
from scoreboard.signing import Presigner, SigningKey

Values = Mapping[str, Value]
"""A user's values for placeholders."""
_TYPES = {JSON: "application/json", FORM: "application/x-www-form-urlencoded", "text": "text/plain"}


@dataclass(frozen=True, slots=True)
class _Layout:
    """The parts of a request for one user."""

    target: Program
    head: Program
    body: Program
    presigner: Presigner | None = None


class CallBuilder:
    """Builds one kind of request. Raises BadTemplate for a value that a place cannot have."""

    def __init__(
        self,
        call: Call,
        address: Address,
        *,
        resumes: bool = False,
        signing_key: SigningKey | None = None,
    ) -> None:
        self._call = call
        self._key = signing_key
        self._authority = address.host_header
        self._line = f"{call.method} ".encode()
        literal = template.in_text
        self._path = template.program(address.base + call.path, template.in_url)
        query = [template.joined(_pair(*pair, template.in_url)) for pair in call.query]
        # A stream that starts from now has no id to ask for.
        asked = [steps for steps in query if resumes or not _asks_for_id(steps)]
        for position, steps in enumerate(asked):
            self._path += [(b"&" if position else b"?", None, literal), *steps]
        lines = [("Host", address.host_header), *call.headers]
        if call.cookies:
            lines.append(("Cookie", "; ".join(f"{name}={value}" for name, value in call.cookies)))
        if call.kind != NONE and not _has(lines, "content-type"):
            lines.append(("Content-Type", _TYPES[call.kind]))
        head: Program = []
        for name, value in lines:
            # An empty value takes a default header away.
            if value:
                head.append((f"{name}: ".encode(), None, literal))
                head += template.program(value, template.in_header)
                head.append((b"\r\n", None, literal))
        self._head = template.joined(head)
        self._body = _body_program(call)
        self._layouts: dict[Value, _Layout] = {}

    def build(self, values: Values, moment: Moment, *, more: bytes = b"") -> bytes:
        """The request of one user; `more` are further header lines."""
        layout = self._layouts.get(values["user"])
        if layout is None:
            layout = self._layout(values)
            self._layouts[values["user"]] = layout
        body = template.render(layout.body, moment)
        if layout.presigner is not None:
            signed = layout.presigner.headers(
                body=body,
                idempotency_key=moment.key,
                created_s=moment.now_ns // 1_000_000_000,
                nonce=moment.key,
            )
            more += "".join(f"{name}: {value}\r\n" for name, value in signed.items()).encode()
        if body or self._call.kind != NONE:
            more += b"Content-Length: %d\r\n" % len(body)
        target = template.render(layout.target, moment)
        head = template.render(layout.head, moment)
        return b"%b%b HTTP/1.1\r\n%b%b\r\n%b" % (self._line, target, head, more, body)

    def _layout(self, values: Values) -> _Layout:
        target = template.filled(template.joined(self._path), values)
        return _Layout(
            target=target,
            head=template.filled(self._head, values),
            body=template.filled(self._body, values),
            presigner=self._presigner(target),
        )

    def _presigner(self, target: Program) -> Presigner | None:
        if self._key is None:
            return None
        path = target[0][0].decode()
        if len(target) > 1 or "?" in path:
            raise BadTemplate("a signed request's path must have no query and be one per user")
        return Presigner(
            method=self._call.method, authority=self._authority, path=path, key=self._key
        )


def _asks_for_id(steps: Program) -> bool:
    return any(hole is not None and hole.name == template.LAST_EVENT_ID for _, hole, _ in steps)


def _has(lines: list[tuple[str, str]], name: str) -> bool:
    return any(key.lower() == name for key, _ in lines)


def _pair(name: str, value: str, encode: template.Encode) -> Program:
    steps = template.program(name, encode, encode)
    return [*steps, (b"=", None, template.in_text), *template.program(value, encode, encode)]


def _body_program(call: Call) -> Program:
    if call.kind == JSON:
        return template.json_program(call.body)
    if call.kind == FORM:
        steps: Program = []
        for position, (name, value) in enumerate(call.body):
            if position:
                steps.append((b"&", None, template.in_text))
            steps += _pair(name, value, template.in_url)
        return template.joined(steps)
    return template.program(call.body or "", template.in_text)


class Submissions:
    """Builds submissions, as `harness.net.http_wire.SubmissionRequests` does as specified."""

    def __init__(
        self,
        description: Description,
        users: Mapping[int, Values],
        *,
        run_id: str,
        signing_key: SigningKey | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._builder = CallBuilder(
            description.submit.call, description.address, signing_key=signing_key
        )
        self._users = users
        self._run_id = run_id
        self._clock_ns = clock_ns

    def make(self, number: int, user: int, increment: int) -> bytes:
        """The request of submission `number`. Raises KeyError for an unknown user."""
        return self._builder.build(
            self._users[user],
            Moment(number, increment, f"{self._run_id}-{number}", self._clock_ns()),
        )


class StreamRequests:
    """Builds the GETs that open streams."""

    def __init__(self, description: Description) -> None:
        call, address = description.stream.call, description.address
        self._fresh = CallBuilder(call, address)
        self._resumed = CallBuilder(call, address, resumes=True)
        own = {name.lower() for name, _ in call.headers}
        self._lines = "".join(
            f"{name}: {value}\r\n"
            for name, value in (("Accept", "text/event-stream"), ("Cache-Control", "no-store"))
            if name.lower() not in own
        )

    def make(
        self, values: Values, last_event_id: str | int | bytes | None = None, *, gzip: bool = False
    ) -> bytes:
        """The request of one listener, from after `last_event_id` where there is one."""
        lines = self._lines + ("Accept-Encoding: gzip\r\n" if gzip else "")
        if isinstance(last_event_id, bytes):
            last_event_id = last_event_id.decode("utf-8", "replace")
        if last_event_id in (None, ""):
            return self._fresh.build(values, Moment(now_ns=time.time_ns()), more=lines.encode())
        lines += f"{contract.LAST_EVENT_ID_HEADER}: {last_event_id}\r\n"
        moment = Moment(now_ns=time.time_ns(), last_event_id=str(last_event_id))
        return self._resumed.build(values, moment, more=lines.encode())


class BoardReads:
    """Builds the GETs of `--reads`, by users in turn."""

    def __init__(self, description: Description, users: Sequence[Values]) -> None:
        self._builder = CallBuilder(description.scores.call, description.address)
        self._users = [{"token": "", **values, "limit": 10, "offset": 0} for values in users]

    def make(self, number: int, etag: str) -> bytes:
        """The GET of read `number`, conditional where there is an ETag."""
        more = f"If-None-Match: {etag}\r\n".encode() if etag else b""
        user = self._users[number % len(self._users)]
        return self._builder.build(user, Moment(now_ns=time.time_ns()), more=more)


def read_request(description: Description, values: Values, *, limit: int, offset: int) -> bytes:
    """The GET that reads the board."""
    builder = CallBuilder(description.scores.call, description.address)
    return builder.build(
        {"user": "", "token": "", **values, "limit": limit, "offset": offset},
        Moment(now_ns=time.time_ns()),
    )
