"""The short way for requests whose head is known. Not a second HTTP parser.

Clients that keep a connection send the same head again and again. Once a head
has gone through Sanic and the request was taken, the next one with exactly the
same bytes (token and Idempotency-Key apart) means the same, so it is answered
without parsing it again, without a task and without Sanic's objects: a look-up
instead of some 60 µs. What is decided anew each time: who the token speaks for,
the key, the body, whether this process takes work.

Whatever is not the plain, good case is left to Sanic, which sees the bytes as if
nobody had looked: an unknown head, a body that came in pieces or is refused, a
token that proves nothing, a server that drains.
"""

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from sanic.headers import format_http1_response
from sanic.request import Request
from sanic.response import HTTPResponse

from scoreboard import contract, ids
from scoreboard.domain import Submission
from scoreboard.errors import Problem
from scoreboard.tokens import Principal
from server.submit.body import parse_update

HEADS_MAX = 2000
"""Each kind of client has a few. At most 8 MiB; beyond it the oldest makes room."""

HEAD_MAX_BYTES = 4096
_KEY_FIELD = b"\r\nIdempotency-Key: "
_TOKEN_FIELD = b"\r\nAuthorization: Bearer "
_NEVER = (
    b"\r\nexpect:",
    b"\r\nconnection:",
    b"\r\nupgrade:",
    b"\r\nif-none-match:",
    b"\r\ntransfer-encoding:",
)
"""Fields that make a request anything but plain."""

_RANDOM_BYTES = 10
_RANDOM_AT_ONCE = 4096


class _Head(msgspec.Struct, frozen=True, gc=False):
    """What a head means: a submission by a token's holder, or a read of the board."""

    submits: bool
    body_bytes: int


class FastPath:
    """Known heads, and the answers to requests that have one.

    `principal` finds who a token speaks for, None when it proves nothing; `ready`
    whether submissions are taken now; `submit` and `refuse` are the committer's and
    the problems'; `page` is the whole answer to a read of the board, None when it
    must be read first.
    """

    def __init__(
        self,
        *,
        principal: Callable[[str], Principal | None],
        ready: Callable[[], bool],
        submit: Callable[[Submission, bool], "asyncio.Future[None]"],
        accept: Callable[[str], HTTPResponse],
        refuse: Callable[[Problem], HTTPResponse],
        page: Callable[[], bytes | None],
    ) -> None:
        self._principal = principal
        self._ready = ready
        self._submit = submit
        self._refuse = refuse
        self._page = page
        self._heads: dict[bytes, _Head] = {}
        self._random = b""
        self._random_at = 0
        # Split where the id goes: twice, in the address and in the body.
        marker = "0" * 36
        before, between, after = raw(accept(marker)).split(marker.encode())
        self._accepted = (before, between, after)

    def learn_submission(self, request: Request) -> None:
        """The head of a submission that Sanic's way has taken.

        Only its token, body and Idempotency-Key may have decided about it: another
        request with this head may have any others.
        """
        self._learn(request, submits=True)

    def learn_read(self, request: Request) -> None:
        """The head of a plain read of the board that Sanic's way has answered."""
        self._learn(request, submits=False)

    def _learn(self, request: Request, *, submits: bool) -> None:
        head = bytes(request.head)
        lower = head.lower()
        if (
            request.version != "1.1"
            or len(head) > HEAD_MAX_BYTES
            or any(name in lower for name in _NEVER)
        ):
            return
        bare, key = _without(_KEY_FIELD, head)
        bare, token = _without(_TOKEN_FIELD, bare)
        rest = bare.lower()
        if b"\r\nidempotency-key" in rest or b"\r\nauthorization" in rest:
            # In another spelling: it would be taken for a part of what stays the same.
            return
        if (token is not None) != submits or (key is not None and not submits):
            return
        if len(self._heads) >= HEADS_MAX:
            del self._heads[next(iter(self._heads))]
        # A read may have a body, and one that is not counted would be read as the next request.
        self._heads[bare] = _Head(submits, len(request.body))

    def take(self, data: bytes, answer: Callable[[bytes], None]) -> bool:
        """Answer a whole request through `answer`, now or later; False leaves it to Sanic."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_MAX_BYTES:
            return False
        bare, key = _without(_KEY_FIELD, data[:end])
        bare, token = _without(_TOKEN_FIELD, bare)
        head = self._heads.get(bare)
        if head is None or len(data) != end + 4 + head.body_bytes:
            return False
        if not head.submits:
            # Nobody has looked into these two, which may hold anything.
            page = self._page() if key is None and token is None else None
            if page is None:
                return False
            answer(page)
            return True
        if token is None or not token.isascii() or not self._ready():
            return False
        principal = self._principal(token.decode("ascii"))
        if principal is None:
            return False
        try:
            submission = self._submission(principal, key, data[end + 4 :])
            waiter = self._submit(submission, key is not None)
        except (Problem, ValueError):
            # Said again on Sanic's way, which knows how.
            return False
        waiter.add_done_callback(partial(self._answer, answer, submission.id))
        return True

    def _submission(self, principal: Principal, key: bytes | None, body: bytes) -> Submission:
        """Raises Problem or ValueError when there is anything against it."""
        update = parse_update("application/json", body)
        if not principal.may_update(update.user_id):
            raise ValueError
        now_us = time.time_ns() // 1000
        if key is None:
            name = ids.time_ordered_id(now_us // 1000, self._fresh_random())
        else:
            parsed = contract.parse_idempotency_key(key.decode("ascii"))
            if parsed is None:
                raise ValueError
            name = ids.keyed_submission_id(principal.subject, parsed)
        return Submission(
            id=name,
            principal=principal.subject,
            user_id=update.user_id,
            increment=update.increment,
            received_us=now_us,
        )

    def _fresh_random(self) -> bytes:
        """Ten bytes nobody has had; one system call serves hundreds."""
        at = self._random_at
        if at + _RANDOM_BYTES > len(self._random):
            self._random, at = os.urandom(_RANDOM_AT_ONCE), 0
        self._random_at = at + _RANDOM_BYTES
        return self._random[at : at + _RANDOM_BYTES]

    def _answer(
        self, answer: Callable[[bytes], None], name: bytes, waiter: "asyncio.Future[None]"
    ) -> None:
        error = None if waiter.cancelled() else waiter.exception()
        if error is None and not waiter.cancelled():
            text = ids.text(name).encode()
            answer(text.join(self._accepted))
        elif isinstance(error, Problem):
            answer(raw(self._refuse(error)))
        else:
            # The committer resolves every submission; without an answer nothing is claimed.
            answer(b"")


def raw(response: HTTPResponse) -> bytes:
    """A whole response as Sanic would send it on a connection that stays."""
    body = response.body or b""
    response.headers["content-length"] = str(len(body))
    response.headers["connection"] = "keep-alive"
    head: Any = format_http1_response(response.status, response.processed_headers)
    return bytes(head) + body


def _without(field: bytes, head: bytes) -> tuple[bytes, bytes | None]:
    """A head without the first field of this spelling, and that field's value."""
    start = head.find(field)
    if start < 0:
        return head, None
    stop = head.find(b"\r\n", start + 2)
    stop = len(head) if stop < 0 else stop
    return head[:start] + head[stop:], head[start + len(field) : stop]
