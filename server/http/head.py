"""The head of a request, parsed once and strictly: syntax, framing, target, host. Pure.

Everything that two readers could understand differently is refused here, before Sanic sees it
(RFC 9110, sections 5.5 and 5.6.2; RFC 9112, sections 2 to 6). A resource has one address: a path
in any other spelling (empty or dot segments, percent-encoding, a slash at the end) is not found.
Not bodies: see `chunked`. `tests/security/differential.py` compares this with other parsers.
"""

import re
from typing import Final, NamedTuple

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# No line folding, no space before the colon, no control characters, and only visible ASCII in
# the request line.
_HEAD = re.compile(
    rb"%b [\x21-\x7e]+ HTTP/1\.[01](?:\r\n%b:[\t\x20-\x7e\x80-\xff]*)*" % (_TOKEN, _TOKEN)
)
_LENGTH = re.compile(r"[0-9]{1,18}")
_AUTHORITY: Final = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9\-._~%!$&'()*+;=]*)(?::[0-9]{0,5})?"
_HOST = re.compile(_AUTHORITY)
_ABSOLUTE = re.compile(rf"[Hh][Tt][Tt][Pp][Ss]?://({_AUTHORITY})([/?].*)?")
_PATH = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]+(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@]+)*/?)?")
_DOTS = re.compile(r"/\.\.?(?:/|\Z)")
_FRAMING: Final = ("host", "content-length", "transfer-encoding", "connection")
METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST")
"""All that any address takes."""

CHUNKED: Final = -1
"""`Head.length` of a chunked body."""


class BadHead(Exception):
    """A head that is refused: status and a fixed reason, which holds nothing of the request."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Head(NamedTuple):
    """What a head means: `target` in origin form, `length` of the body (None: no body)."""

    method: str
    target: str
    version: str
    fields: list[tuple[str, str]]
    """Names in lower case, values without blanks around them."""
    length: int | None
    keep_alive: bool


def is_valid_head(head: bytes) -> bool:
    """Whether `parse_head` takes it."""
    try:
        parse_head(head)
    except BadHead:
        return False
    return True


def parse_head(head: bytes) -> Head:
    """The meaning of a header block (without its last two line ends). Raises BadHead."""
    if _HEAD.fullmatch(head) is None:
        raise BadHead(400, "syntax")
    # Header values may have any byte above 0x7f; Sanic decodes them this way.
    line, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    method, target, protocol = line.split(" ")
    version = protocol[5:]
    fields = []
    told: dict[str, list[str]] = {name: [] for name in _FRAMING}
    for each in lines:
        name, _, value = each.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name in told:
            told[name].append(value)
        fields.append((name, value))
    length = _length(told["content-length"], told["transfer-encoding"], version)
    _check_host(told["host"], version)
    if not target.startswith("/"):
        target, host = _origin_form(method, target)
        if host is not None:
            # RFC 9112, section 3.2.2: the target's host replaces that of the field.
            fields = [field for field in fields if field[0] != "host"] + [("host", host)]
    elif "#" in target:
        raise BadHead(400, "fragment")
    path = target.partition("?")[0]
    if _PATH.fullmatch(path) is None or ("/." in path and _DOTS.search(path) is not None):
        raise BadHead(404 if method in METHODS else 405, "path")
    options = ",".join(told["connection"]).lower().replace(" ", "").replace("\t", "").split(",")
    keep_alive = "close" not in options and (version == "1.1" or "keep-alive" in options)
    return Head(method, target, version, fields, length, keep_alive)


def _check_host(hosts: list[str], version: str) -> None:
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise BadHead(400, "host")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise BadHead(400, "host")


def _length(lengths: list[str], codings: list[str], version: str) -> int | None:
    """The length of the body. A request that names it in two ways is refused."""
    if codings:
        if lengths or len(codings) > 1 or version != "1.1" or codings[0].lower() != "chunked":
            raise BadHead(400, "framing")
        return CHUNKED
    if not lengths:
        return None
    if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
        raise BadHead(400, "framing")
    return int(lengths[0])


def _origin_form(method: str, target: str) -> tuple[str, str | None]:
    """The target in origin form, and its host, of `*` or an absolute address."""
    if target == "*" and method == "OPTIONS":
        return "/", None
    found = _ABSOLUTE.fullmatch(target)
    if found is None or not found[1] or found[1].startswith(":") or "#" in target:
        raise BadHead(400, "target")
    rest = found[2] or "/"
    return rest if rest.startswith("/") else f"/{rest}", found[1]
