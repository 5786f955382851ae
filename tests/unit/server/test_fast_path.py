"""The fast path takes only requests whose header block the slow path has accepted before."""

import asyncio
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sanic.response import HTTPResponse

from scoreboard import ids
from scoreboard.domain import Submission
from scoreboard.errors import OVERLOADED, RATE_LIMITED, Problem
from scoreboard.tokens import Principal
from server.http import fast_path
from server.http.fast_path import BeginSpan, FastPath
from server.http.responses import WireBytes
from server.submit.submission import NewIds
from tests.support.eventually import settled

HEAD = (
    b"POST /scores/update HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\n"
    b"Content-Type: application/json\r\nContent-Length: 27"
)
BODY = b'{"userId":1,"increment":10}'
END = b"\r\n\r\n"
KEYED = HEAD + b"\r\nIdempotency-Key: first"
TOKEN = "t"
PAGE = WireBytes(b"HTTP/1.1 200 OK\r\n", b"\r\n[]")


class Way:
    """An FastPath with everything around it under the test's control."""

    def __init__(self, begin_span: BeginSpan | None = None) -> None:
        self.principal: Principal | None = Principal(
            subject="1", scopes=frozenset(), expires_s=2**40
        )
        self.ready = True
        self.page: WireBytes | None = PAGE
        self.submitted: list[tuple[Submission, bool]] = []
        self.waiters: list[asyncio.Future[int]] = []
        self.answers: list[bytes] = []
        self.refusal: Problem | None = None
        self.others: dict[str, Principal] = {}
        self.fast_path = FastPath(
            principal=lambda token: self.principal if token == TOKEN else self.others.get(token),
            ready=lambda: self.ready,
            submit=self._submit,
            new_id=NewIds(),
            accept=lambda name: HTTPResponse(f"<{name}>", status=202, headers={"location": name}),
            quota_line=lambda left: b"ratelimit: %d\r\n" % left,
            refuse=lambda problem: HTTPResponse(problem.kind.code, status=problem.kind.status),
            page=lambda: self.page,
            begin_span=begin_span,
        )

    def _submit(self, submission: Submission, keyed: bool) -> "asyncio.Future[int]":
        if self.refusal is not None:
            raise self.refusal
        self.submitted.append((submission, keyed))
        self.waiters.append(asyncio.get_running_loop().create_future())
        return self.waiters[-1]

    def learn(self, head: bytes = HEAD, body: bytes = BODY, version: str = "1.1") -> None:
        request: Any = SimpleNamespace(head=head, body=body, version=version, method="POST")
        self.fast_path.learn_submission(request)

    def learn_read(self, head: bytes, body: bytes = b"") -> None:
        request: Any = SimpleNamespace(head=head, body=body, version="1.1", method="GET")
        self.fast_path.learn_read(request)

    def take(self, data: bytes) -> bool:
        return self.fast_path.take(data, self.answers.append)


@pytest.fixture
async def way() -> Way:
    found = Way()
    found.learn()
    return found


async def test_a_known_head_submits_and_is_answered_when_that_is_durable(way: Way) -> None:
    assert way.take(HEAD + END + BODY)
    [(submission, keyed)] = way.submitted
    assert (submission.principal, submission.user_id, submission.increment) == ("1", 1, 10)
    assert not keyed
    assert way.answers == []

    way.waiters[0].set_result(7)
    await settled()

    [answer] = way.answers
    name = ids.text(submission.id).encode()
    head, _, body = answer.partition(END)
    assert head.startswith(b"HTTP/1.1 202 ")
    assert b"\r\nlocation: " + name in head
    assert b"\r\ncontent-length: 38\r\nconnection: keep-alive" in head
    assert body == b"<" + name + b">"


async def test_no_number_of_reads_makes_a_submission_unknown(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_path, "HEADS_MAX", 3)
    for number in range(10):
        way.learn_read(b"GET /scores HTTP/1.1\r\nHost: x\r\nX-Number: %d" % number)

    assert way.take(HEAD + END + BODY)


async def test_each_submission_without_a_key_has_a_name_of_its_own(way: Way) -> None:
    for _ in range(1000):
        assert way.take(HEAD + END + BODY)

    assert len({submission.id for submission, _ in way.submitted}) == 1000


async def test_a_key_names_the_submission_as_on_the_long_way(way: Way) -> None:
    assert way.take(KEYED + END + BODY)
    assert way.take(HEAD + b'\r\nIdempotency-Key: "first"' + END + BODY)
    assert way.take(HEAD + b"\r\nIdempotency-Key: second" + END + BODY)

    names = [submission.id for submission, keyed in way.submitted if keyed]
    assert names == [ids.keyed_submission_id("1", key) for key in ("first", "first", "second")]


async def test_a_known_head_serves_every_token_that_proves_something(way: Way) -> None:
    way.others["u"] = Principal(subject="2", scopes=frozenset(), expires_s=2**40)

    assert way.take(HEAD.replace(b"Bearer t", b"Bearer u") + END + BODY.replace(b"1,", b"2,"))

    [(submission, _)] = way.submitted
    assert (submission.principal, submission.user_id) == ("2", 2)


async def test_a_token_speaks_for_its_own_user_only(way: Way) -> None:
    way.others["u"] = Principal(subject="2", scopes=frozenset(), expires_s=2**40)

    assert not way.take(HEAD.replace(b"Bearer t", b"Bearer u") + END + BODY)
    assert way.submitted == []


async def test_a_submission_needs_a_token_and_a_read_has_none(way: Way) -> None:
    """Nobody would look into a read's, which may hold anything."""
    read = b"GET /scores HTTP/1.1\r\nHost: a"
    way.learn_read(read + b"\r\nAuthorization: Bearer t")
    assert not way.take(read + END)
    way.learn_read(read)

    assert not way.take(read + b"\r\nAuthorization: Bearer t" + END)
    assert not way.take(read + b"\r\nAuthorization: Bearer x\rTransfer-Encoding: chunked" + END)
    assert not way.take(read + b"\r\nIdempotency-Key: k" + END)
    assert not way.take(HEAD.replace(b"\r\nAuthorization: Bearer t", b"") + END + BODY)
    assert way.take(read + END)


@pytest.mark.parametrize(
    "data",
    [
        HEAD.replace(b"\r\nHost", b"\r\nAuthorization: Bearer t\r\nHost") + END + BODY,
        HEAD.replace(b"\r\nHost", b"\r\nauthorization: Bearer t\r\nHost") + END + BODY,
        HEAD.replace(b"Bearer t", b"bearer t") + END + BODY,
        HEAD.replace(b"Bearer t", b"Bearer  t") + END + BODY,
        HEAD.replace(b"Bearer t", b"Bearer \xff") + END + BODY,
        HEAD.replace(b"Bearer t", b"Bearer u") + END + BODY,
        HEAD.replace(b"Host: a", b"Host: b") + END + BODY,
        HEAD + b"\r\nX-New: 1" + END + BODY,
        HEAD.replace(b"POST", b"PUT") + END + BODY,
        HEAD + END,
        HEAD + END + BODY[:-1],
        HEAD + END + BODY + BODY,
        HEAD + END + BODY.replace(b"10", b"00"),
        HEAD + END + BODY.replace(b"10", b"x0"),
        HEAD + END + BODY.replace(b'"userId":1', b'"userId":2'),
        HEAD + END + b'{"userId":1,"increment":NaN}'[:27],
        KEYED + b"\r\nIdempotency-Key: second" + END + BODY,
        HEAD + b"\r\nIdempotency-Key: " + b"x" * 200 + END + BODY,
        HEAD + b"\r\nIdempotency-Key: \xc3\xa4" + END + BODY,
        HEAD + b"\r\nIdempotency-Key:  first" + END + BODY,
        HEAD + b"\r\nIdempotency-Key: a\nX: b" + END + BODY,
        HEAD,
        b"",
        END,
    ],
)
async def test_anything_but_the_plain_good_case_is_left_to_the_long_way(
    way: Way, data: bytes
) -> None:
    assert not way.take(data)
    assert way.submitted == []
    assert way.answers == []


@pytest.mark.parametrize(
    "field",
    [
        b"Connection: close",
        b"connection: keep-alive",
        b"Expect: 100-continue",
        b"Upgrade: h2c",
        b"idempotency-key: lower",
        b"authorization: Bearer lower",
        b"Authorization: Bearer second",
    ],
)
async def test_a_head_that_is_more_than_plain_is_never_learnt(field: bytes) -> None:
    way = Way()

    way.learn(HEAD + b"\r\n" + field)

    assert not way.take(HEAD + b"\r\n" + field + END + BODY)
    assert not way.take(HEAD + END + BODY)


async def test_http_1_0_is_never_learnt() -> None:
    way = Way()

    way.learn(version="1.0")

    assert not way.take(HEAD + END + BODY)


async def test_a_token_that_must_be_proven_again_goes_the_long_way(way: Way) -> None:
    way.principal = None

    assert not way.take(HEAD + END + BODY)


async def test_a_server_that_takes_no_work_says_so_on_the_long_way(way: Way) -> None:
    way.ready = False

    assert not way.take(HEAD + END + BODY)


async def test_no_room_is_said_on_the_long_way(way: Way) -> None:
    way.refusal = Problem(OVERLOADED, "full")

    assert not way.take(HEAD + END + BODY)


async def test_a_refusal_after_waiting_is_answered(way: Way) -> None:
    assert way.take(HEAD + END + BODY)
    way.waiters[0].set_exception(Problem(RATE_LIMITED, "slower"))
    await settled()

    [answer] = way.answers
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert answer.endswith(b"rate_limited")


async def test_cancelled_submission_writes_no_response(way: Way) -> None:
    assert way.take(HEAD + END + BODY)
    way.waiters[0].cancel()
    await settled()

    assert way.answers == [b""]


async def test_a_read_is_answered_with_the_page_that_is_ready() -> None:
    way = Way()
    head = b"GET /scores HTTP/1.1\r\nHost: a"
    way.learn_read(head)

    assert way.take(head + END)
    [answer] = way.answers
    assert re.fullmatch(rb"HTTP/1.1 200 OK\r\ndate: [^\r]+ GMT\r\n\r\n\[\]", answer)
    way.page = None
    assert not way.take(head + END)


@pytest.mark.parametrize("field", [b'If-None-Match: "x"', b"Idempotency-Key: k"])
async def test_a_read_that_asks_for_more_is_not_learnt(field: bytes) -> None:
    way = Way()
    head = b"GET /scores HTTP/1.1\r\nHost: a\r\n" + field

    way.learn_read(head)

    assert not way.take(head + END)


async def test_a_read_with_a_body_is_taken_only_with_all_of_it() -> None:
    way = Way()
    head = b"GET /scores HTTP/1.1\r\nHost: a\r\nContent-Length: 14"
    smuggled = b"GET /metrics H"

    way.learn_read(head, smuggled)

    assert not way.take(head + END)
    assert way.take(head + END + smuggled)


async def test_a_read_whose_body_is_in_chunks_is_not_learnt() -> None:
    way = Way()
    head = b"GET /scores HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked"

    way.learn_read(head)

    assert not way.take(head + END)


TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_request_with_its_own_traceparent_takes_the_fast_path(
    way: Way,
) -> None:
    for traceparent in (TRACEPARENT, TRACEPARENT.replace(b"4b", b"5c")):
        assert way.take(HEAD + b"\r\ntraceparent: " + traceparent + END + BODY)

    assert way.fast_path.answered == 2


@pytest.mark.parametrize(
    "field",
    [
        b"traceparent: " + TRACEPARENT.upper(),
        b"traceparent: " + TRACEPARENT + b"\rX: y",
        b"traceparent: " + TRACEPARENT + b"\r\ntraceparent: " + TRACEPARENT,
        b"Traceparent: " + TRACEPARENT,
        b"traceparent: ",
        b"tracestate: a=b",
    ],
)
async def test_malformed_or_repeated_trace_fields_take_the_slow_path(
    way: Way, field: bytes
) -> None:
    way.learn(HEAD + b"\r\n" + field)

    assert not way.take(HEAD + b"\r\n" + field + END + BODY)


async def test_span_is_begun_for_each_submission_and_ended_with_its_status() -> None:
    ended: list[int] = []
    begun: list[tuple[str | None, bytes]] = []

    def begin(traceparent: str | None, submission_id: bytes) -> Callable[[int], None] | None:
        begun.append((traceparent, submission_id))
        return ended.append if len(begun) < 4 else None

    way = Way(begin_span=begin)
    way.learn()
    traced = HEAD + b"\r\ntraceparent: " + TRACEPARENT
    for head in (traced, HEAD, HEAD, HEAD):
        assert way.take(head + END + BODY)
    way.waiters[0].set_result(7)
    way.waiters[1].set_exception(Problem(RATE_LIMITED, "slower"))
    way.waiters[2].cancel()
    way.waiters[3].set_result(7)
    await asyncio.sleep(0)

    assert [parent for parent, _ in begun] == [TRACEPARENT.decode(), None, None, None]
    assert [name for _, name in begun] == [submission.id for submission, _ in way.submitted]
    assert ended == [202, 429, 0]
