"""Templates with placeholders, as `/players/{user}/points`: compiled, then filled. Pure.

Placeholders whose value a user fixes (`{user}`, `{name}`, `{token}`, any column of the users' file)
are filled once per user; those that change with each request (`DYNAMIC`) as it is built. In JSON a
string that is one placeholder takes the value's own type (`"{increment}"` becomes `10`), and
`{user:text}` stays text. `\\{` is a brace.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

Value = str | int

LAST_EVENT_ID = "last_event_id"
DYNAMIC = ("increment", "key", "number", "now", "uuid", LAST_EVENT_ID)
"""Placeholders that change with each request: points, unique key, its number, time, a UUID of the
key, and where a stream resumes.

`{now}` is Unix seconds; `{now:ms}` milliseconds, `{now:iso}` RFC 3339; `{now+3600}` an hour later.
"""
_PLACEHOLDER = re.compile(r"\\\{|\{([A-Za-z_]\w*)([+-]\d{1,12})?(?::(\w+))?\}")
_FORMS = {"now": ("ms", "iso", "text")}


class BadTemplate(ValueError):
    """The template names a placeholder that does not exist, or a form that it does not have."""


class Hole(msgspec.Struct, frozen=True):
    """One placeholder: its name, seconds to add to `now`, and the form asked for."""

    name: str
    shift: int = 0
    form: str = ""

    @property
    def dynamic(self) -> bool:
        """Whether its value changes with each request."""
        return self.name in DYNAMIC


class Moment(msgspec.Struct, frozen=True):
    """What one request is about, for the placeholders that change with each."""

    number: int = 0
    increment: int = 1
    key: str = ""
    now_ns: int = 0
    last_event_id: str = ""


def parts_of(text: str) -> list[str | Hole]:
    """Literal text and placeholders, in order."""
    parts: list[str | Hole] = []
    literal, position = "", 0
    for match in _PLACEHOLDER.finditer(text):
        literal += text[position : match.start()]
        position = match.end()
        if match[1] is None:
            literal += "{"
            continue
        if literal:
            parts.append(literal)
        parts.append(Hole(match[1], int(match[2] or 0), match[3] or ""))
        literal = ""
    literal += text[position:]
    if literal or not parts:
        parts.append(literal)
    return parts


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a JSON value, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from texts_in(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from texts_in(inner)


def holes_in(value: Any) -> list[Hole]:
    """The placeholders in a text, or in every text of a JSON value."""
    return [p for text in texts_in(value) for p in parts_of(text) if isinstance(p, Hole)]


def fault_of(hole: Hole) -> str:
    """What is wrong with the form of a placeholder, empty when nothing is."""
    forms = _FORMS.get(hole.name, ("text",))
    if hole.shift and hole.name != "now":
        return f"{{{hole.name}}} is no time: only {{now}} takes + or - seconds"
    if hole.form and hole.form not in forms:
        return f"{{{hole.name}:{hole.form}}}: the form is {' or '.join(forms)}"
    return ""


def dynamic_value(hole: Hole, moment: Moment) -> Value:
    """The value of a placeholder that changes with each request."""
    match hole.name:
        case "increment":
            return moment.increment
        case "number":
            return moment.number
        case "key":
            return moment.key
        case "last_event_id":
            return moment.last_event_id
        case "uuid":
            # Made of the key, so that a repeated request has the same one.
            return str(uuid.uuid5(uuid.NAMESPACE_OID, moment.key))
    at_ns = moment.now_ns + hole.shift * 1_000_000_000
    if hole.form == "ms":
        return at_ns // 1_000_000
    if hole.form == "iso":
        return _rfc3339(at_ns)
    return at_ns // 1_000_000_000


def _rfc3339(unix_ns: int) -> str:
    import datetime

    at = datetime.datetime.fromtimestamp(unix_ns // 1_000_000 / 1000, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Encode = Callable[[Value], bytes]


def in_url(value: Value) -> bytes:
    """A value as part of a path or query."""
    return quote(str(value), safe="").encode()


def in_header(value: Value) -> bytes:
    """A value as part of a header or cookie. Raises BadTemplate for one that would end the line."""
    text = str(value)
    if "\r" in text or "\n" in text:
        raise BadTemplate("a header's value holds a line end")
    return text.encode()


def in_text(value: Value) -> bytes:
    """A value as it is, in UTF-8."""
    return str(value).encode()


def in_json(value: Value) -> bytes:
    """A value as JSON: a number or a quoted text."""
    return msgspec.json.encode(value)


def in_json_text(value: Value) -> bytes:
    """A value inside a quoted JSON text."""
    return msgspec.json.encode(str(value))[1:-1]


Program = list[tuple[bytes, Hole | None, Encode]]
"""Bytes to copy, and then a placeholder to fill (none at the end), in order."""


def program(text: str, encode: Encode, literal: Encode = in_text) -> Program:
    """A text template, compiled; `literal` encodes what is between the placeholders."""
    steps: Program = []
    before = b""
    for part in parts_of(text):
        if isinstance(part, Hole):
            steps.append((before, part, encode))
            before = b""
        else:
            before += literal(part)
    steps.append((before, None, encode))
    return steps


def json_program(value: Any) -> Program:
    """A JSON template, compiled: compact, members in the order given."""
    steps: Program = []
    _json_steps(value, steps)
    return joined(steps)


def _json_steps(value: Any, steps: Program) -> None:
    if isinstance(value, str):
        parts = parts_of(value)
        if len(parts) == 1 and isinstance(parts[0], Hole) and parts[0].form != "text":
            steps.append((b"", parts[0], in_json))
            return
        steps.append((b'"', None, in_text))
        steps += program(value, in_json_text, in_json_text)
        steps.append((b'"', None, in_text))
    elif isinstance(value, Mapping):
        steps.append((b"{", None, in_text))
        for position, (name, inner) in enumerate(value.items()):
            steps.append((b',"' if position else b'"', None, in_text))
            steps += program(name, in_json_text, in_json_text)
            steps.append((b'":', None, in_text))
            _json_steps(inner, steps)
        steps.append((b"}", None, in_text))
    elif isinstance(value, list | tuple):
        steps.append((b"[", None, in_text))
        for position, inner in enumerate(value):
            if position:
                steps.append((b",", None, in_text))
            _json_steps(inner, steps)
        steps.append((b"]", None, in_text))
    else:
        # Dates of TOML become text.
        steps.append((json.dumps(value, default=str).encode(), None, in_text))


def joined(steps: Program) -> Program:
    """The same with literals that stand side by side made one."""
    found: Program = []
    before = b""
    for literal, hole, encode in steps:
        before += literal
        if hole is not None:
            found.append((before, hole, encode))
            before = b""
    found.append((before, None, in_text))
    return found


def filled(steps: Program, values: Mapping[str, Value]) -> Program:
    """The same with every placeholder filled that a user fixes. Raises BadTemplate."""
    found: Program = []
    for literal, hole, encode in steps:
        if hole is None or hole.dynamic:
            found.append((literal, hole, encode))
        elif hole.name in values:
            found.append((literal + encode(values[hole.name]), None, encode))
        else:
            raise BadTemplate(f"{{{hole.name}}} has no value for user {values.get('user', '')}")
    return joined(found)


def render(steps: Program, moment: Moment) -> bytes:
    """The bytes for one request, of a template that is `filled`."""
    if len(steps) == 1:
        return steps[0][0]
    parts = []
    for literal, hole, encode in steps:
        parts.append(literal)
        if hole is not None:
            parts.append(encode(dynamic_value(hole, moment)))
    return b"".join(parts)
