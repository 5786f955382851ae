"""Every parser of something that strangers send, as a function of bytes that only fails on a bug.

Each target allows exactly the refusal that its parser documents; whatever else is
raised, and any broken invariant, is a find. Used by Hypothesis and by atheris.
"""

import base64
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Callable, Mapping
from contextlib import suppress

from scoreboard import contract, ids, sse
from scoreboard.domain import MAX_INCREMENT, MAX_USER_ID
from scoreboard.errors import Problem
from scoreboard.keys import InvalidKeys, Keyring, parse_jwks, shared_secret
from scoreboard.players.orders import decode_order, encode_order
from scoreboard.strict_json import strict_json
from scoreboard.tokens import InvalidToken, Principal, verify
from server.auth.origins import Origins
from server.auth.signatures import Signatures, SignedMessage, VerificationKey
from server.board.players import parse_order
from server.board.query import NOT_OURS, parse_flag, parse_resume, parse_window
from server.http.chunked import BadChunk, BodyTooLarge, ChunkedBody
from server.http.head import BadHead, parse_head
from server.review.decisions import parse_decision
from server.stream.client_ip import client_address
from server.stream.stream_gate import cookies
from server.submit.body import parse_update
from server.submit.submission_parser import parse_batch

SECRET = b"fuzz-secret-of-at-least-32-bytes"
NOW_S = 1_764_000_000
_KEYRING = Keyring(secret=shared_secret(SECRET))
_SIGNATURES = Signatures(
    {"k": VerificationKey(algorithm="hmac-sha256", subjects=frozenset("*"), material=SECRET)},
    required=True,
)
_PRINCIPAL = Principal(subject="1", scopes=frozenset(), expires_s=NOW_S)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def token(data: bytes) -> None:
    """A bearer token as it stands."""
    with suppress(InvalidToken):
        verify(_text(data), _KEYRING, now_s=NOW_S)
        raise AssertionError("nobody knows the secret")


def claims(data: bytes) -> None:
    """Header and claims, divided by a NUL, under a right signature."""
    head, _, body = data.partition(b"\0")
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (head, body)]
    signature = hmac.digest(SECRET, b".".join(parts), hashlib.sha256)
    parts.append(base64.urlsafe_b64encode(signature).rstrip(b"="))
    with suppress(InvalidToken):
        principal = verify(b".".join(parts).decode(), _KEYRING, now_s=NOW_S)
        assert 0 < len(principal.subject) <= 64
        assert principal.subject.isascii()
        assert NOW_S - 5 < principal.expires_s <= NOW_S + 5 + 400 * 86_400
        assert isinstance(json.loads(body.decode()), dict)


def update(data: bytes) -> None:
    """The body of POST /scores/update."""
    with suppress(Problem):
        parsed = parse_update("application/json", data)
        assert 0 < parsed.user_id <= MAX_USER_ID
        assert 0 < abs(parsed.increment) <= MAX_INCREMENT
        again = json.loads(data.decode())
        assert again == {"userId": parsed.user_id, "increment": parsed.increment}
        assert all(type(value) is int for value in again.values())


def media_type(data: bytes) -> None:
    """The Content-Type of that body."""
    with suppress(Problem):
        parse_update(_text(data), b'{"userId":1,"increment":1}')
        assert data.strip(b" \t").lower().startswith(b"application/json")


def batch(data: bytes) -> None:
    """The body of POST /scores/updates."""
    # msgspec's errors are ValueErrors; text that is no UTF-8 raises one too.
    with suppress(ValueError, RecursionError):
        items = parse_batch(data)
        assert 0 < len(items) <= 500
        strict = strict_json(data)
        assert len(strict) == len(items)


def decision(data: bytes) -> None:
    """The body of POST /admin/reviews/{submissionId}."""
    with suppress(Problem):
        parse_decision("application/json", data)


def order(data: bytes) -> None:
    """The body of POST /admin/players."""
    with suppress(Problem):
        given = parse_order(_PRINCIPAL, (), "application/json", data, bytes(16))
        assert decode_order(encode_order(given)) == given


def cursor(data: bytes) -> None:
    """Last-Event-ID, as a header or a parameter."""
    text = _text(data)
    number = parse_resume([text], {})
    assert parse_resume([], {"lastEventId": [text]}) == number
    if number is None:
        assert not text
    elif number == NOT_OURS:
        assert sse.parse_last_event_id(text) is None
    else:
        assert 0 <= number < 2**63
        assert int(text) == number


def query(data: bytes) -> None:
    """Parameters of reads."""
    values = {"limit": [_text(data)], "offset": [_text(data)], "snapshot": [_text(data)]}
    for parse in (parse_window, lambda found: parse_flag(found, "snapshot")):
        with suppress(Problem):
            parse(values)
            assert data.isdigit()


def signature(data: bytes) -> None:
    """Signature-Input, Signature and Content-Digest, divided by NULs."""
    given, made, digest = [*_text(data).split("\0"), "", ""][:3]
    headers = {"signature-input": given, "signature": made, "content-digest": digest}
    with suppress(Problem):
        _SIGNATURES.check(
            SignedMessage.of("POST", "localhost", "/scores/update", headers),
            body=b"{}",
            principal=_PRINCIPAL,
        )
        raise AssertionError("nobody knows the key")


def idempotency_key(data: bytes) -> None:
    """Idempotency-Key."""
    key = contract.parse_idempotency_key(_text(data))
    if key is not None:
        assert 0 < len(key) <= contract.IDEMPOTENCY_KEY_MAX_CHARS
        assert key.isascii()
        assert key.isprintable()
        assert " " not in key


def head(data: bytes) -> None:
    """The head of a request."""
    with suppress(BadHead):
        found = parse_head(data)
        lower = data.lower()
        assert b"\0" not in data
        assert data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")
        assert lower.count(b"\r\ncontent-length:") + lower.count(b"\r\ntransfer-encoding:") <= 1
        assert found.target.startswith("/")
        assert "//" not in found.target.partition("?")[0]
        assert sum(name == "host" for name, _ in found.fields) <= 1


def chunked(data: bytes) -> None:
    """A chunked body, in one piece and cut anywhere: the same content, or refused."""
    at = data[0] % max(1, len(data)) if data else 0
    found: list[object] = []
    for pieces in ((data,), (data[:at], data[at:])):
        body, buffer, content = ChunkedBody(1000), bytearray(), b""
        try:
            for piece in pieces:
                buffer += piece
                content += body.take(buffer)
            found.append((content, body.done, bytes(buffer)))
        except (BadChunk, BodyTooLarge) as error:
            found.append(type(error))
        assert len(content) <= 1000
    assert found[0] == found[1]


def jwks(data: bytes) -> None:
    """A document of public keys."""
    with suppress(InvalidKeys):
        assert parse_jwks(data)


def workflow_input(data: bytes) -> None:
    """A batch as a workflow gets it, and changes as the hub does."""
    for decode in (contract.decode_batch, contract.decode_changes):
        with suppress(ValueError, RecursionError):
            decode(data)


def event_stream(data: bytes) -> None:
    """Server-Sent Events, cut anywhere: the same events as in one piece."""
    at = data[0] % max(1, len(data)) if data else 0
    whole, cut = sse.Decoder(), sse.Decoder()
    assert whole.feed(data) == cut.feed(data[:at]) + cut.feed(data[at:])


def addresses(data: bytes) -> None:
    """X-Forwarded-For, Origin, Cookie, and a submission id."""
    text = _text(data)
    for header in ("x-forwarded-for", "forwarded"):
        counted, _ = client_address("203.0.113.7", [text], proxies=1, header=header)
        assert ipaddress.ip_network(counted)
    origins = Origins(["https://a.example"])
    with suppress(Problem):
        origins.check([text], "b.example")
        assert text in ("https://a.example", "https://b.example", "http://b.example")
    for _, value in origins.fields([text]):
        assert "\r" not in value
        assert "\n" not in value
    assert all("=" not in name for name in cookies([text], "scoreboard_token") if not name)
    with suppress(ValueError):
        assert len(ids.parse(text)) == 16


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(token, claims, update, media_type, batch, decision, order, cursor, query, signature),
        *(idempotency_key, head, chunked, jwks, workflow_input, event_stream, addresses),
    )
}

SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "token": (b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.AAAA",),
    "claims": (
        b'{"alg":"HS256","typ":"JWT"}\0{"iss":"scoreboard","aud":"scoreboard","sub":"1",'
        b'"iat":1764000000,"exp":1764000060,"scope":"a b"}',
    ),
    "update": (b'{"userId":1,"increment":10}', b'{"increment":-5,"userId":2}'),
    "media_type": (b"application/json", b'application/json; charset="utf-8"'),
    "batch": (b'[{"userId":1,"increment":10,"key":"a"}]',),
    "decision": (b'{"decision":"approve"}',),
    "order": (
        b'{"action":"rename","userId":2,"name":"Z","reason":"r"}',
        b'{"action":"merge","userId":2,"into":1,"reason":"r"}',
    ),
    "cursor": (b"0", b"9223372036854775807"),
    "query": (b"1", b"100"),
    "signature": (
        b'sig=("@method" "@path" "@query" "content-digest");created=1764000000;keyid="k"'
        b';nonce="n";tag="scoreboard"\0sig=:AAAA:\0sha-256=:AAAA:',
    ),
    "idempotency_key": (b'"abc"', b"abc"),
    "head": (b"POST /scores/update HTTP/1.1\r\nHost: a\r\nContent-Length: 5",),
    "chunked": (b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",),
    "jwks": (b'{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAA","use":"sig"}]}',),
    "workflow_input": (
        contract.encode_batch([]),
        b"\x91\x95\xc4\x10" + b"a" * 16 + b"\xa11\x01\x02\x03",
    ),
    "event_stream": (b": c\r\nid: 1\nevent: update\rdata: {}\n\nretry: 5\n\n",),
    "addresses": (b"2001:db8::1, 10.0.0.1", b"https://a.example", b"a=b; scoreboard_token=c"),
}
"""Inputs that get far, for a fuzzer to start from."""
