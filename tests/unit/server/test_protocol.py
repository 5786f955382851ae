"""Header blocks that are accepted: only those that every parser reads alike."""

import pytest

from server.http.head import is_valid_head

HOST = b"\r\nHost: localhost"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /scores HTTP/1.1" + HOST,
        b"GET /scores?limit=1 HTTP/1.1\r\nhOST:localhost:3000\r\nAccept: */*",
        b"GET / HTTP/1.1\r\nHost: [::1]:3000\r\nX-Empty:\r\nX-Tab: a\tb",
        b"POST /x HTTP/1.1\r\nContent-Length: 12" + HOST,
        b"GET / HTTP/1.0",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: CHUNKED" + HOST,
        b"GET / HTTP/1.1\r\nX-Name: J\xc3\xb6rg" + HOST,
    ],
)
def test_plain_requests_are_taken(head: bytes) -> None:
    assert is_valid_head(head)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /scores HTTP/1.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b",
        b"GET / HTTP/1.1\r\nHost: a, b",
        b"GET / HTTP/1.1\r\nHost: a/b",
        b"GET / HTTP/1.1\r\nHost: a?b",
        b"GET / HTTP/1.1\r\nHost: a@b",
        b"GET / HTTP/1.1\r\nHost: a#b",
        b"GET / HTTP/1.1\r\nHost: a\\b",
        b"GET / HTTP/1.1\r\nHost: [::1",
        b"GET / HTTP/1.1\r\nHost: a:b",
        b"GET / HTTP/1.1\r\nHost : a",
        b"GET / HTTP/1.1" + HOST + b"\r\nContent-Length : 5",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: a\r\n b",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: a\x00b",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: a\rb",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: a\nY: b",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: a\x7f",
        b"GET / HTTP/1.1" + HOST + b"\r\nno colon",
        b"GET / HTTP/1.1" + HOST + b"\r\n: empty name",
        b"GET / HTTP/1.1" + HOST + b"\r\nX\xc3: a",
        b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
        b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: gzip, chunked",
        b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked;q=1",
        b"POST / HTTP/1.0" + HOST + b"\r\nTransfer-Encoding: chunked",
        b"POST / HTTP/1.1" + HOST + b"\r\ntransfer-encoding: identity",
        b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 5\r\nContent-Length: 5",
        b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: +5",
        b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 5, 5",
        b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 0x5",
        b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 5_0",
        b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: \xd9\xa5",
        b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length:",
        b"GET  / HTTP/1.1" + HOST,
        b"GET /a b HTTP/1.1" + HOST,
        b"GET / HTTP/2.0" + HOST,
        b"GET / http/1.1" + HOST,
        b"GET /\xff HTTP/1.1" + HOST,
        b"G\xcbT / HTTP/1.1" + HOST,
        b" GET / HTTP/1.1" + HOST,
        b"\r\nGET / HTTP/1.1" + HOST,
        b"GET / HTTP/1.1\n" + HOST,
        b"",
    ],
)
def test_ambiguous_requests_are_refused(head: bytes) -> None:
    assert not is_valid_head(head)
