"""Fast path for requests with a previously seen header block. It does not parse HTTP.

Clients that keep a connection send the same header block again and again. Once Sanic has parsed a
block and the request was accepted, the next request with exactly the same bytes (token,
Idempotency-Key and traceparent apart) means the same. It is answered without parsing, without a
task and without Sanic's objects: a dictionary look-up instead of some 60 µs. Decided anew for each
request: the token's principal, the key, the body, and whether this process takes work.

Everything but the plain, accepted case takes the slow path through Sanic with its bytes
untouched: an unknown block, a body in pieces, a refusal, an invalid token, a server that drains.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from functools import partial

from sanic.request import Request
from sanic.response import HTTPResponse

from scoreboard import ids
from scoreboard.domain import Submission
from scoreboard.errors import Problem
from scoreboard.tokens import Principal
from server.http.chunked import whole_body
from server.http.head import CHUNKED
from server.http.responses import WireBytes, date_line, wire_bytes
from server.submit.body import MAX_BODY_BYTES
from server.submit.submission import NewIds, parse_submission

HEADS_MAX = 2000
"""Of submissions, and of reads. Each kind of client has a few. At most 8 MiB each; beyond it the
oldest is dropped."""

HEAD_MAX_BYTES = 4096
_KEY_FIELD = b"\r\nIdempotency-Key: "
_TOKEN_FIELD = b"\r\nAuthorization: Bearer "
_TRACE_FIELD = b"\r\ntraceparent: "
_TRACEPARENT = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_OTHER_SPELLINGS = (b"\r\nidempotency-key", b"\r\nauthorization", b"\r\ntraceparent")
_NEVER = (
    b"\r\nexpect:",
    b"\r\nconnection:",
    b"\r\nupgrade:",
    b"\r\nif-none-match:",
    b"\r\ntracestate:",
    b"\r\ncontent-encoding:",
    b"\r\norigin:",
    b"\r\nscoreboard-seq:",
)
"""Fields that keep a request on the slow path."""
_CHUNKED_FIELD = b"\r\ntransfer-encoding:"

EndSpan = Callable[[int], None]
BeginSpan = Callable[[str | None, bytes], EndSpan | None]
"""Begins the span of a sampled submission, by its traceparent and id; ended with the status."""


class FastPath:
    """Known header blocks, and the answers to requests that have one.

    `principal` finds a token's principal, None for an invalid token; `ready` tells whether
    submissions are taken; `submit` and `refuse` are the committer's and the problems'; `quota_line`
    is the field that says what is left of the sender's rate limit; `page` is
    the whole answer to a read of the board, None when the board must be read first; `begin_span`
    is None when nothing is traced; `fields` are those of every answer. `answered` counts the
    requests answered here.
    """

    def __init__(
        self,
        *,
        principal: Callable[[str], Principal | None],
        ready: Callable[[], bool],
        submit: Callable[[Submission, bool], "asyncio.Future[int]"],
        new_id: NewIds,
        accept: Callable[[str], HTTPResponse],
        quota_line: Callable[[int], bytes],
        refuse: Callable[[Problem], HTTPResponse],
        page: Callable[[], WireBytes | None],
        begin_span: BeginSpan | None = None,
        fields: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._principal = principal
        self._ready = ready
        self._submit = submit
        self._new_id = new_id
        self._quota_line = quota_line
        self._refuse = refuse
        self._page = page
        self._begin_span = begin_span
        # How many bytes follow each known head, CHUNKED when the body tells it itself. Each kind
        # has room of its own: reads, which need no token, never push submissions out.
        self._submissions: dict[bytes, int] = {}
        self._reads: dict[bytes, int] = {}
        self.answered = 0
        self._fields = fields
        # Split where the id goes: twice, in the address and in the body.
        marker = "0" * 36
        self._accepted_line, rest = wire_bytes(accept(marker), fields)
        before, between, after = rest.split(marker.encode())
        self._accepted = (before, between, after)

    def learn_submission(self, request: Request) -> None:
        """Remember the header block of a submission that the slow path has accepted.

        Only its token, body and Idempotency-Key may have decided about it: a later request with
        this block may have any others.
        """
        self._learn(request, submits=True)

    def learn_read(self, request: Request) -> None:
        """Remember the header block of a plain read of the board from the slow path."""
        self._learn(request, submits=False)

    def _learn(self, request: Request, *, submits: bool) -> None:
        head = bytes(request.head)
        lower = head.lower()
        if (
            request.version != "1.1"
            or request.method != ("POST" if submits else "GET")
            or len(head) > HEAD_MAX_BYTES
            or any(name in lower for name in _NEVER)
        ):
            return
        bare, key = _without(_KEY_FIELD, head)
        bare, token = _without(_TOKEN_FIELD, bare)
        bare, _ = _without(_TRACE_FIELD, bare)
        rest = bare.lower()
        if any(name in rest for name in _OTHER_SPELLINGS):
            # It would be taken for a part of the block that stays the same.
            return
        if (token is not None) != submits or (key is not None and not submits):
            return
        heads = self._submissions if submits else self._reads
        if len(heads) >= HEADS_MAX:
            del heads[next(iter(heads))]
        # A read may have a body; bytes not counted here would be read as the next request.
        heads[bare] = CHUNKED if _CHUNKED_FIELD in lower else len(request.body)

    def take(self, data: bytes, answer: Callable[[bytes], None]) -> bool:
        """Answer a whole request through `answer`, now or later; False: take the slow path."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_MAX_BYTES:
            return False
        bare, key = _without(_KEY_FIELD, data[:end])
        bare, token = _without(_TOKEN_FIELD, bare)
        traceparent = None
        heads = self._reads if token is None else self._submissions
        length = heads.get(bare)
        if length is None:
            # Looked for only now: most requests have none.
            bare, traceparent = _without(_TRACE_FIELD, bare)
            if traceparent is None or _TRACEPARENT.fullmatch(traceparent) is None:
                return False
            length = heads.get(bare)
        if length is None:
            return False
        body = _body(data[end + 4 :], length)
        if body is None:
            return False
        if token is None:
            # The key is unvalidated here; with one it is not a plain read.
            page = self._page() if key is None else None
            if page is None:
                return False
            self.answered += 1
            answer(page.dated())
            return True
        if not token.isascii() or not self._ready():
            return False
        principal = self._principal(token.decode("ascii"))
        if principal is None:
            return False
        try:
            parsed = parse_submission(
                principal,
                () if key is None else (key.decode("ascii"),),
                "application/json",
                body,
                time.time_ns() // 1000,
                self._new_id,
            )
            waiter = self._submit(parsed.submission, parsed.keyed)
        except (Problem, UnicodeDecodeError):
            # Let the slow path produce the error response.
            return False
        self.answered += 1
        name = parsed.submission.id
        end_span = None
        if self._begin_span is not None:
            parent = None if traceparent is None else traceparent.decode("ascii")
            end_span = self._begin_span(parent, name)
        waiter.add_done_callback(partial(self._answer, answer, name, end_span))
        return True

    def _answer(
        self,
        answer: Callable[[bytes], None],
        name: bytes,
        end_span: EndSpan | None,
        waiter: "asyncio.Future[int]",
    ) -> None:
        error = None if waiter.cancelled() else waiter.exception()
        status = 0
        if error is None and not waiter.cancelled():
            status = 202
            answer(
                b"%b%b%b%b"
                % (
                    self._accepted_line,
                    date_line(),
                    self._quota_line(waiter.result()),
                    ids.text(name).encode().join(self._accepted),
                )
            )
        elif isinstance(error, Problem):
            status = error.kind.status
            answer(wire_bytes(self._refuse(error), self._fields).dated())
        else:
            # The committer resolves every submission; without an answer nothing is claimed.
            answer(b"")
        if end_span is not None:
            end_span(status)


def _body(data: bytes, length: int) -> bytes | None:
    """The whole body, and nothing after it; else None."""
    if length == CHUNKED:
        return whole_body(data, MAX_BODY_BYTES)
    return data if len(data) == length else None


def _without(field: bytes, head: bytes) -> tuple[bytes, bytes | None]:
    """A header block without the first field of this spelling, and that field's value."""
    start = head.find(field)
    if start < 0:
        return head, None
    stop = head.find(b"\r\n", start + 2)
    stop = len(head) if stop < 0 else stop
    return head[:start] + head[stop:], head[start + len(field) : stop]
