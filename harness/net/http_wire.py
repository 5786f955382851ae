"""The HTTP/1.1 of the load generator: encodes requests, frames answers.

Answers may be framed in every way of RFC 9112: by length, in chunks with extensions and trailers,
or by the end of the connection, as HTTP/1.0 does; interim answers may come first. Not a general
parser: one answer at a time. An answer that it cannot frame raises `BadAnswer`, and the connection
must be closed.
"""

import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from scoreboard import contract
from scoreboard.signing import Presigner, SigningKey


class BadAnswer(ValueError):
    """The bytes cannot be framed as an HTTP/1.1 answer."""


def parse_base_url(url: str) -> tuple[str, int, str]:
    """Host, port and `Host` header value of `http://host[:port][/]`. Raises ValueError."""
    parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(f"{url!r} is not of the form http://host:port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port or 80
    return parts.hostname, port, host if port == 80 else f"{host}:{port}"


def answer_end(data: bytes) -> int | None:
    """Where the answer at the start of `data` ends, None while it is incomplete.

    Raises BadAnswer. Bodies come by Content-Length or chunked; 1xx, 204 and 304 have none. One
    without either ends with its connection (`until_close`).
    """
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        if len(data) > 65536:
            raise BadAnswer("no end of headers in 64 KiB")
        return None
    start = data.find(b"ontent-", 0, head_end)
    while start >= 0:
        if data[start - 3 : start + 14].lower() == b"\r\ncontent-length:":
            end = data.find(b"\r\n", start)
            try:
                size = int(data[start + 14 : end])
            except ValueError as error:
                raise BadAnswer("unreadable Content-Length") from error
            total = head_end + 4 + size
            return total if len(data) >= total else None
        start = data.find(b"ontent-", start + 7, head_end)
    return _rare_end(data, head_end)


def _rare_end(data: bytes, head_end: int) -> int | None:
    if _without_body(status_of(data)):
        return head_end + 4
    if (length := header_of(data, "content-length")) is not None:
        if not (length.isascii() and length.isdigit() and len(length) < 19):
            raise BadAnswer("unreadable Content-Length")
        total = head_end + 4 + int(length)
        return total if len(data) >= total else None
    if not _chunked(data):
        if len(data) > head_end + CHUNK_BYTES_MAX:
            raise BadAnswer("no end in 4 MiB")
        return None
    position = head_end + 4
    while (chunk := chunk_at(data, position)) is not None:
        start, end = chunk
        position = end + 2
        if start == end:
            return position
    return None


def _without_body(status: int) -> bool:
    return status < 200 or status in (204, 304)


def _chunked(answer: bytes) -> bool:
    return (header_of(answer, "transfer-encoding") or "").lower() == "chunked"


def until_close(data: bytes) -> bool:
    """Whether these bytes are a whole answer now that the connection has been closed."""
    if b"\r\n\r\n" not in data or _without_body(status_of(data)):
        return False
    return header_of(data, "content-length") is None and not _chunked(data)


def after_interim(data: bytes) -> bytes:
    """What follows the interim answers (1xx) at the start of `data`. Raises BadAnswer."""
    while data[9:10] == b"1" and (end := data.find(b"\r\n\r\n")) >= 0 and status_of(data) != 101:
        data = data[end + 4 :]
    return data


_CLOSE, _KEEP = (
    re.compile(rb"\r\nconnection:[^\r\n]*\b%b\b" % word, re.IGNORECASE)
    for word in (b"close", b"keep-alive")
)


def closes(answer: bytes) -> bool:
    """Whether the server closes the connection after this answer (RFC 9112, section 9.3)."""
    if answer[7:8] == b"0":
        return _KEEP.search(answer, 0, answer.find(b"\r\n\r\n")) is None
    if b"lose" not in answer and b"LOSE" not in answer:
        return False
    return _CLOSE.search(answer, 0, answer.find(b"\r\n\r\n")) is not None


CHUNK_BYTES_MAX = 4 * 1024 * 1024
_SIZE_LINE_MAX = 4096
_TRAILERS_MAX = 65536


def chunk_at(data: bytes, position: int) -> tuple[int, int] | None:
    """Start and end of the content of the chunk at `position`, None while it is incomplete.

    The next chunk begins two bytes after that end; the last one is empty, and what is said to be
    its end is that of its trailers. Raises BadAnswer.
    """
    line_end = data.find(b"\r\n", position, position + _SIZE_LINE_MAX)
    if line_end < 0:
        if len(data) - position > _SIZE_LINE_MAX:
            raise BadAnswer("no chunk size")
        return None
    try:
        size = int(data[position:line_end].split(b";")[0], 16)
    except ValueError as error:
        raise BadAnswer("unreadable chunk size") from error
    if not 0 <= size <= CHUNK_BYTES_MAX:
        raise BadAnswer("chunk too large")
    start = line_end + 2
    end = start + size
    if len(data) < end + 2:
        return None
    if data[end : end + 2] != b"\r\n":
        if size == 0:
            return _trailers_end(data, start)
        raise BadAnswer("chunk without end")
    return start, end


def _trailers_end(data: bytes, start: int) -> tuple[int, int] | None:
    end = data.find(b"\r\n\r\n", start, start + _TRAILERS_MAX)
    if end < 0 and len(data) > start + _TRAILERS_MAX:
        raise BadAnswer("no end of trailers in 64 KiB")
    return None if end < 0 else (end + 2, end + 2)


def body_of(answer: bytes) -> bytes:
    """The body of one whole answer, as `answer_end` found it. Raises BadAnswer.

    Where a request names no coding any is lawful (RFC 9110, section 12.5.3); gzip is read.
    """
    start = answer.find(b"\r\n\r\n") + 4
    body = answer[start:]
    if _chunked(answer):
        parts = []
        while (chunk := chunk_at(answer, start)) is not None:
            parts.append(answer[slice(*chunk)])
            start = chunk[1] + 2
        body = b"".join(parts)
    if (header_of(answer, "content-encoding") or "").lower() in ("gzip", "x-gzip"):
        return _gunzipped(body)
    return body


def _gunzipped(body: bytes) -> bytes:
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        text = inflate.decompress(body, CHUNK_BYTES_MAX)
    except zlib.error as error:
        raise BadAnswer(f"not gzip: {error}") from None
    if body and not inflate.eof:
        raise BadAnswer("gzip without an end, or of more than 4 MiB")
    return text


def status_of(data: bytes) -> int:
    """The status code. Raises BadAnswer when the bytes do not start like HTTP/1.x."""
    if data[:7].upper() != b"HTTP/1." or not data[9:12].isdigit():
        raise BadAnswer("not HTTP/1.x")
    return int(data[9:12])


_SUBMISSION_ID = b'"submissionId":"'


def submission_id_of(data: bytes) -> bytes | None:
    """The 36 characters of the submission id in an answer, None when it has none."""
    start = data.find(_SUBMISSION_ID)
    if start < 0:
        # Other JSON encoders put a space after the colon.
        start = data.find(b'"submissionId": "')
        if start < 0:
            return None
        start += 1
    start += len(_SUBMISSION_ID)
    found = data[start : start + 36]
    return found if len(found) == 36 else None


_FOLD = re.compile(r"\r\n[ \t]+")


def header_of(data: bytes, name: str) -> str | None:
    """A header's value in an answer, folded lines as one; None when it is not there."""
    head = data[: data.find(b"\r\n\r\n")].decode("latin-1")
    for line in _FOLD.sub(" ", head).split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return None


SUBMISSION_BODY = b'{"userId":%d,"increment":%d}'
"""Format of a submission's JSON: user id, increment."""


def submission_head(host_header: str, token: str) -> str:
    """The common start of all submissions with a token: request line and fields, up to the key."""
    return (
        f"POST {contract.UPDATE_PATH} HTTP/1.1\r\nHost: {host_header}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    )


class SubmissionRequests:
    """Builds POST requests from parts made once per user. About 1 µs each.

    With a signing key every request is signed as it is built, so that its signature
    is fresh when it is sent: about 15 µs more with HMAC-SHA256, 70 with Ed25519.
    """

    def __init__(
        self,
        *,
        host_header: str,
        tokens: Mapping[int, str] | Sequence[str],
        run_id: str,
        signing_key: SigningKey | None = None,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        items = tokens.items() if isinstance(tokens, Mapping) else enumerate(tokens)
        self._prefixes = {
            user: (
                f"{submission_head(host_header, token)}{contract.IDEMPOTENCY_HEADER}: {run_id}-"
            ).encode()
            for user, token in items
        }
        self._run_id = run_id
        self._clock_s = clock_s
        self._signer = (
            None
            if signing_key is None
            else Presigner(
                method="POST", authority=host_header, path=contract.UPDATE_PATH, key=signing_key
            )
        )

    def make(self, number: int, user: int, increment: int) -> bytes:
        """The request of submission `number`. Raises KeyError for a user without a token."""
        body = SUBMISSION_BODY % (user, increment)
        return b"%b%d\r\n%bContent-Length: %d\r\n\r\n%b" % (
            self._prefixes[user],
            number,
            b"" if self._signer is None else self._signature(self._signer, number, body),
            len(body),
            body,
        )

    def without_content(self, user: int) -> bytes:
        """A request that no server may apply: an empty object, but a valid token and signature."""
        body = b"{}"
        signature = b"" if self._signer is None else self._signature(self._signer, 0, body)
        return b"%b0\r\n%bContent-Length: %d\r\n\r\n%b" % (
            self._prefixes[user],
            signature,
            len(body),
            body,
        )

    def _signature(self, signer: Presigner, number: int, body: bytes) -> bytes:
        name = f"{self._run_id}-{number}"
        headers = signer.headers(
            body=body, idempotency_key=name, created_s=int(self._clock_s()), nonce=name
        )
        return "".join(f"{key}: {value}\r\n" for key, value in headers.items()).encode()


def stream_request(
    host_header: str,
    last_event_id: int | bytes | None,
    token: str = "",
    *,
    gzip: bool = False,
    snapshot: bool = False,
) -> bytes:
    """The GET that opens a stream, from after `last_event_id` and with a token if there is one.

    An id in bytes is sent back as the server sent it.

    `snapshot` asks for the top of the board first; a listener that resumes needs none.
    """
    accept = "Accept-Encoding: gzip\r\n" if gzip else ""
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    if isinstance(last_event_id, int):
        last_event_id = b"%d" % last_event_id
    resume = (
        b"%b: %b\r\n" % (contract.LAST_EVENT_ID_HEADER.encode(), last_event_id)
        if last_event_id
        else b""
    )
    path = contract.STREAM_PATH + ("?snapshot=1" if snapshot and last_event_id is None else "")
    head = (
        f"GET {path} HTTP/1.1\r\nHost: {host_header}\r\n"
        f"Accept: text/event-stream\r\nCache-Control: no-store\r\n{accept}{bearer}"
    )
    return b"%b%b\r\n" % (head.encode(), resume)
