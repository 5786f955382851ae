"""Requests are built and answers framed to the byte."""

import gzip
import json

import pytest

from harness.net.http_wire import (
    BadAnswer,
    SubmissionRequests,
    after_interim,
    answer_end,
    body_of,
    closes,
    header_of,
    parse_base_url,
    stream_request,
    submission_id_of,
    until_close,
)
from scoreboard.signing import HMAC_SHA256, SigningKey, sign

ANSWERS = [
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 202 Accepted\r\ncontent-length:5\r\nX-Content-Type: a\r\n\r\nhello",
    b"HTTP/1.1 202 Accepted\r\nX-Content-Length-Of: 1\r\nCONTENT-LENGTH: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b;c\r\nhello\r\n0\r\nT: 1\r\n\r\n",
    b"HTTP/1.1 202\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 202 \r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"http/1.1 204 no content\r\n\r\n",
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_ends_exactly_where_it_ends_however_it_is_cut(answer: bytes) -> None:
    for cut in range(len(answer)):
        assert answer_end(answer[:cut]) is None

    assert answer_end(answer) == len(answer)
    assert answer_end(answer + b"HTTP/1.1 2") == len(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"x" * 70_000,
    ],
)
def test_an_answer_that_cannot_be_framed_is_bad(answer: bytes) -> None:
    with pytest.raises(BadAnswer):
        answer_end(answer)


def test_answer_without_length_or_chunks_ends_with_its_connection() -> None:
    head = b"HTTP/1.1 202 Accepted\r\nConnection: close\r\n"

    assert answer_end(head + b"\r\nbody") is None
    assert until_close(head + b"\r\nbody")
    assert not until_close(head)
    assert not until_close(head + b"Content-Length: 9\r\n\r\nbody")
    assert not until_close(head + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody")


def test_interim_answers_come_before_the_final_one() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    final = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"

    assert after_interim(interim + final) == final
    assert after_interim(interim[:-5] + final[:0]) == interim[25:-5]
    assert after_interim(final) == final


@pytest.mark.parametrize(
    ("head", "closed"),
    [
        (b"HTTP/1.1 200 OK\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", True),
        (b"HTTP/1.1 200 OK\r\nconnection:Keep-Alive, Close\r\n", True),
        (b"HTTP/1.1 200 OK\r\nX-Reason: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", False),
    ],
)
def test_connection_is_reused_only_where_the_answer_allows_it(head: bytes, closed: bool) -> None:
    assert closes(head + b"Content-Length: 5\r\n\r\nclose") is closed


def test_a_submission_carries_token_key_and_exact_length() -> None:
    requests = SubmissionRequests(host_header="h:1", tokens={7: "tok"}, run_id="run")

    head, _, body = requests.make(12, 7, 34).partition(b"\r\n\r\n")

    assert head.startswith(b"POST /scores/update HTTP/1.1\r\nHost: h:1\r\n")
    assert b"\r\nAuthorization: Bearer tok\r\n" in head
    assert b"\r\nIdempotency-Key: run-12\r\n" in head
    assert head.endswith(b"Content-Length: %d" % len(body))
    assert json.loads(body) == {"userId": 7, "increment": 34}


def test_signed_submission_verifies_and_is_signed_when_built() -> None:
    now_s = [1000.0]
    key = SigningKey(id="game", algorithm=HMAC_SHA256, material=b"k" * 32)
    requests = SubmissionRequests(
        host_header="h:1",
        tokens={7: "tok"},
        run_id="run",
        signing_key=key,
        clock_s=lambda: now_s[0],
    )

    first = requests.make(12, 7, 34)
    now_s[0] = 1400.0
    again = requests.make(12, 7, 34)

    for request, created in ((first, 1000), (again, 1400)):
        expected = sign(
            method="POST",
            url="http://h:1/scores/update",
            headers={"Idempotency-Key": "run-12"},
            body=request.partition(b"\r\n\r\n")[2],
            key=key,
            created_s=created,
            nonce="run-12",
        )
        for name, value in expected.items():
            assert header_of(request, name) == value


@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_gzip_that_nobody_declined_is_read(framing: bytes) -> None:
    packed = gzip.compress(b'{"ok":true}')
    whole = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed) if b"chunked" in framing else packed
    length = framing % len(packed) if b"%d" in framing else framing
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" + length + b"\r\n" + whole

    assert answer_end(answer) == len(answer)
    assert body_of(answer) == b'{"ok":true}'


@pytest.mark.parametrize("packed", [b"plain", gzip.compress(b"cut off", mtime=0)[:-9]])
def test_gzip_that_is_none_is_a_bad_answer(packed: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed

    with pytest.raises(BadAnswer, match="gzip"):
        body_of(answer)


@pytest.mark.parametrize("space", [b"", b" "])
def test_the_submission_id_is_found_with_and_without_a_space(space: bytes) -> None:
    identifier = b"0" * 36

    assert submission_id_of(b'{"submissionId":' + space + b'"' + identifier + b'"}') == identifier
    assert submission_id_of(b'{"submissionId":"short"}') is None
    assert submission_id_of(b"{}") is None


def test_a_stream_resumes_only_when_there_is_something_to_resume() -> None:
    assert b"Last-Event-ID: 5\r\n" in stream_request("h", 5)
    assert b"Last-Event-ID" not in stream_request("h", None)
    assert b"Last-Event-ID" not in stream_request("h", b"")
    assert "Last-Event-ID: 17-é\r\n".encode() in stream_request("h", "17-é".encode())


def test_headers_are_found_whatever_their_case() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: chunked\r\n\r\n"

    assert header_of(answer, "Transfer-Encoding") == "chunked"
    assert header_of(answer, "Other") is None


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://a:3000", ("a", 3000, "a:3000")),
        ("a:3000", ("a", 3000, "a:3000")),
        ("http://a/", ("a", 80, "a")),
        ("http://[::1]:5", ("::1", 5, "[::1]:5")),
    ],
)
def test_base_urls(url: str, parts: tuple[str, int, str]) -> None:
    assert parse_base_url(url) == parts


@pytest.mark.parametrize("url", ["https://a", "http://a/path", "http://"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        parse_base_url(url)


def test_a_listener_carries_its_token_and_where_it_was() -> None:
    request = stream_request("h:1", 7, "tok")

    assert header_of(request, "Authorization") == "Bearer tok"
    assert header_of(request, "Last-Event-ID") == "7"
    assert header_of(stream_request("h:1", None), "Authorization") is None
