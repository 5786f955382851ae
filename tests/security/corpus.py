"""Hostile requests by name, each with the answer it must get. Sends nothing.

Section by section what a scoreboard gets attacked with: syntax that two readers
read differently, bodies that two parsers parse differently, tokens that are
nearly right, text that means something to a database, a log or a terminal.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.api import SECRET

GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /scores/update HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = b'{"userId":1,"increment":7}'


@dataclass(frozen=True, kw_only=True)
class Case:
    """Bytes to send and the statuses that are right; `closes`: after the first answer."""

    data: bytes
    statuses: frozenset[int]
    closes: bool = True


def _refused(data: bytes) -> Case:
    return Case(data=data + SMUGGLED, statuses=frozenset({400}))


def _authorized(bearer: str) -> bytes:
    return POST + b"Authorization: Bearer %b\r\n" % bearer.encode()


def syntax(bearer: str) -> Mapping[str, Case]:
    """Requests that another reader would cut elsewhere; the token in them is good."""
    post = _authorized(bearer)
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n"
    size = b"%x" % len(BODY)
    sized = post + b"Content-Length: %d\r\n" % len(BODY)
    cases = {
        "space before colon": post + b"Content-Length : 26\r\n\r\n" + BODY,
        "tab before colon": post + b"Content-Length\t: 26\r\n\r\n" + BODY,
        "space before name": post + b" Content-Length: 26\r\n\r\n" + BODY,
        "folded line": sized + b"X: a\r\n b\r\n\r\n" + BODY,
        "folded with tab": sized + b"X: a\r\n\tb\r\n\r\n" + BODY,
        "NUL in value": sized + b"X: a\0b\r\n\r\n" + BODY,
        "NUL in name": sized + b"X\0: a\r\n\r\n" + BODY,
        "bare CR": sized + b"X: a\rContent-Length: 0\r\n\r\n" + BODY,
        "bare LF": sized + b"X: a\nContent-Length: 0\r\n\r\n" + BODY,
        "vertical tab": sized + b"X: a\x0bb\r\n\r\n" + BODY,
        "no Host": post.replace(b"Host: a\r\n", b"") + b"Content-Length: 26\r\n\r\n" + BODY,
        "two Hosts": sized + b"Host: b\r\n\r\n" + BODY,
        "Host with path": GET.replace(b"Host: a", b"Host: a/b") + b"\r\n",
        "Host with at": GET.replace(b"Host: a", b"Host: a@b/") + b"\r\n",
        "Host list": GET.replace(b"Host: a", b"Host: a, b") + b"\r\n",
        "Arabic digits": post + "Content-Length: ٢٦\r\n\r\n".encode() + BODY,
        "plus sign": post + b"Content-Length: +26\r\n\r\n" + BODY,
        "minus sign": post + b"Content-Length: -26\r\n\r\n" + BODY,
        "hexadecimal length": post + b"Content-Length: 0x1a\r\n\r\n" + BODY,
        "underscore in length": post + b"Content-Length: 2_6\r\n\r\n" + BODY,
        "length with fraction": post + b"Content-Length: 26.0\r\n\r\n" + BODY,
        "empty length": post + b"Content-Length:\r\n\r\n" + BODY,
        "two lengths": sized + b"Content-Length: 0\r\n\r\n" + BODY,
        "two equal lengths": sized + b"Content-Length: 26\r\n\r\n" + BODY,
        "list of lengths": post + b"Content-Length: 26, 26\r\n\r\n" + BODY,
        "huge length": post + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n" + BODY,
        "chunk size 0x": chunked + b"0x" + size + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
        "chunk size signed": chunked + b"+" + size + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
        "LF in chunk extension": chunked + size + b";\n" + BODY + b"\r\n0\r\n\r\n",
        "chunk without CRLF": chunked + size + b"\r\n" + BODY + b"0\r\n\r\n",
        "trailer": chunked + size + b"\r\n" + BODY + b"\r\n0\r\nAuthorization: x\r\n\r\n",
        "trailer that smuggles": chunked + b"0\r\n" + SMUGGLED,
        "chunked and length": sized + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + BODY,
        "chunked obscured": post + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "xchunked": post + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "identity": sized + b"Transfer-Encoding: identity\r\n\r\n" + BODY,
        "chunked twice": post + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "colon only": sized + b": x\r\n\r\n" + BODY,
        "no colon": sized + b"nonsense\r\n\r\n" + BODY,
        "name with umlaut": sized + "Ü: x\r\n\r\n".encode() + BODY,
        "space in address": GET.replace(b"/healthz", b"/health z") + b"\r\n",
        "NUL in address": GET.replace(b"/healthz", b"/\0") + b"\r\n",
        "8-bit address": GET.replace(b"/healthz", b"/\xff") + b"\r\n",
        "lower-case version": GET.replace(b"HTTP", b"http") + b"\r\n",
        "version 1.2": GET.replace(b"1.1", b"1.2") + b"\r\n",
        "version 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "no version": b"GET /healthz\r\n\r\n",
        "two spaces": GET.replace(b"GET ", b"GET  ") + b"\r\n",
        "leading line end": b"\r\n\r\n" + GET + b"\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "line ends of LF": GET.replace(b"\r\n", b"\n") + b"\n\r\n\r\n",
    }
    return {name: _refused(data) for name, data in cases.items()} | {
        "oversize header": Case(
            data=GET + b"X: " + b"x" * 9000 + b"\r\n\r\n", statuses=frozenset({431})
        ),
        "oversize address": Case(
            data=GET.replace(b"/healthz", b"/" + b"x" * 9000) + b"\r\n", statuses=frozenset({414})
        ),
        "oversize body": Case(
            data=post + b"Content-Length: 99999999\r\n\r\n", statuses=frozenset({413})
        ),
    }


_ID = b'{"userId":1,"increment":'
_DIGITS = b"9" * 4500

BODIES: Mapping[str, tuple[bytes, int]] = {
    "NaN": (_ID + b"NaN}", 422),
    "Infinity": (_ID + b"-Infinity}", 422),
    "1e999": (_ID + b"1e999}", 422),
    "float": (_ID + b"7.0}", 422),
    "exponent": (_ID + b"7e0}", 422),
    "text": (_ID + b'"7"}', 422),
    "true": (_ID + b"true}", 422),
    "null": (_ID + b"null}", 422),
    "list": (_ID + b"[7]}", 422),
    "beyond 64 bits": (_ID + b"18446744073709551623}", 422),
    "thousands of digits": (_ID + _DIGITS + b"}", 422),
    "zero": (_ID + b"0}", 422),
    "minus zero": (_ID + b"-0}", 422),
    "too much": (_ID + b"1000001}", 422),
    "name twice": (b'{"userId":2,"userId":1,"increment":7}', 422),
    "escaped name twice": (b'{"userId":2,"\\u0075serId":1,"increment":7}', 422),
    "unknown member": (b'{"userId":1,"increment":7,"isAdmin":true}', 422),
    "prototype": (b'{"userId":1,"increment":7,"__proto__":{"a":1}}', 422),
    "other case": (b'{"userid":1,"increment":7}', 422),
    "lone surrogate name": (b'{"userId":1,"increment":7,"\\ud800":1}', 422),
    "lone surrogate value": (b'{"userId":"\\udfff","increment":7}', 422),
    "SQL in the id": (b'{"userId":"1; DROP TABLE users","increment":7}', 422),
    "SQL in the increment": (b'{"userId":1,"increment":"1); UPDATE users SET score=9"}', 422),
    "list of updates": (b'[{"userId":1,"increment":7}]', 422),
    "deep list": (b"[" * 7000 + b"]" * 7000, 422),
    "deep object": (b'{"a":' * 2000 + b"1" + b"}" * 2000, 422),
    "nothing": (b"", 400),
    "half": (b'{"userId":1,"incre', 400),
    "two values": (BODY + BODY, 400),
    "single quotes": (b"{'userId':1,'increment':7}", 400),
    "comment": (b'{"userId":1,"increment":7}//', 400),
    "trailing comma": (b'{"userId":1,"increment":7,}', 400),
    "leading zero": (_ID + b"07}", 400),
    "plus sign": (_ID + b"+7}", 400),
    "byte order mark": (b"\xef\xbb\xbf" + BODY, 400),
    "UTF-16": (BODY.decode().encode("utf-16"), 400),
    "broken UTF-8": (b'{"userId":1,"increment":7,"\xc0\x80":1}', 400),
    "form": (b"userId=1&increment=7", 400),
    "XML": (b'<?xml version="1.0"?><a/>', 400),
}
"""Bodies of an authorised update, and their status."""

GOOD_HEADER: dict[str, Any] = {"alg": "HS256", "typ": "JWT"}


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(head: bytes, body: bytes, secret: bytes = SECRET) -> str:
    """A token with a right HMAC over anything."""
    signed = f"{_b64(head)}.{_b64(body)}"
    return f"{signed}.{_b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def tokens(now_s: int) -> Mapping[str, str]:
    """Tokens that must not pass at `now_s`; all but one or two details are right."""
    claims: dict[str, Any] = {
        "iss": "scoreboard",
        "aud": "scoreboard",
        "sub": "1",
        "iat": now_s,
        "exp": now_s + 600,
    }

    def header(**changed: Any) -> str:
        return forge(json.dumps(GOOD_HEADER | changed).encode(), json.dumps(claims).encode())

    def claim(**changed: Any) -> str:
        return forge(json.dumps(GOOD_HEADER).encode(), json.dumps(claims | changed).encode())

    def without(name: str) -> str:
        kept = {key: value for key, value in claims.items() if key != name}
        return forge(json.dumps(GOOD_HEADER).encode(), json.dumps(kept).encode())

    good = claim()
    head, body, signature = good.split(".")
    none = _b64(b'{"alg":"none","typ":"JWT"}')
    text = json.dumps(claims)
    return {
        "no signature": f"{head}.{body}.",
        "alg none": f"{none}.{body}.",
        "alg none, signed": f"{none}.{body}.{signature}",
        **{f"alg {alg}": header(alg=alg) for alg in ("None", "NONE", "hs256", "HS384", "HS512")},
        **{f"alg {alg}": header(alg=alg) for alg in ("RS256", "ES256", "EdDSA", "", "dir")},
        "alg a list": header(alg=["HS256"]),
        "alg null": header(alg=None),
        "alg a number": header(alg=1),
        "crit": header(crit=["exp"]),
        "crit empty": header(crit=[]),
        "b64 false": header(b64=False, crit=["b64"]),
        "typ of an id token": header(typ="id+jwt"),
        "typ a number": header(typ=1),
        "zip": header(typ="JWE", zip="DEF"),
        "other secret": forge(json.dumps(GOOD_HEADER).encode(), text.encode(), b"x" * 32),
        "empty secret": forge(json.dumps(GOOD_HEADER).encode(), text.encode(), b""),
        "changed body": f"{head}.{_b64(text.replace('600', '601').encode() + b' ')}.{signature}",
        "padding": f"{head}.{body}=.{signature}",
        "four parts": f"{good}.{signature}",
        "cut off": good[:-2],
        **{f"without {name}": without(name) for name in claims if name != "iat"},
        "iss of another": claim(iss="elsewhere"),
        "aud of another": claim(aud="elsewhere"),
        "aud a list of others": claim(aud=["elsewhere", "Scoreboard"]),
        "aud a mixed list": claim(aud=["scoreboard", 1]),
        "an id token by token_use": claim(token_use="id"),
        "an id token by typ": claim(typ="ID"),
        "bound to its sender": claim(cnf={"jkt": "x"}),
        "expired": claim(iat=now_s - 700, exp=now_s - 60),
        "not yet": claim(iat=now_s + 60),
        "nbf later": claim(nbf=now_s + 60),
        "exp as text": claim(exp=str(now_s + 600)),
        "exp a float of the past": claim(exp=now_s - 60.5),
        "exp null": claim(exp=None),
        "iat null": claim(iat=None),
        "nbf null": claim(nbf=None),
        "exp in 95 years": claim(exp=now_s + 95 * 365 * 86_400),
        "exp huge": claim(exp=10**30),
        "exp before iat": claim(exp=now_s - 1, iat=now_s),
        "iat true": claim(iat=True),
        "iat negative": claim(iat=-1),
        "sub a number": claim(sub=1),
        "sub empty": claim(sub=""),
        "sub with NUL": claim(sub="1\0"),
        "sub with line end": claim(sub="1\r\nX: y"),
        "sub a surrogate": claim(sub="\ud800"),
        "sub long": claim(sub="1" * 256),
        "scope a list of numbers": claim(scope=[1]),
        "scope an object": claim(scope={"scores:write:any": True}),
        "permissions an object": claim(permissions={"scores:write:any": True}),
        "alg twice": forge(b'{"alg":"none","alg":"HS256"}', json.dumps(claims).encode()),
        "padded signature": f"{good}=",
        "another spelling of the signature": _respelt(good),
        "exp as NaN": forge(
            json.dumps(GOOD_HEADER).encode(),
            text.replace(str(now_s + 600), "NaN").encode(),
        ),
        "sub twice": forge(
            json.dumps(GOOD_HEADER).encode(), text.replace('"sub"', '"sub": "2", "sub"').encode()
        ),
        "UTF-16": forge(json.dumps(GOOD_HEADER).encode(), text.encode("utf-16")),
        "claims a list": forge(json.dumps(GOOD_HEADER).encode(), f"[{text}]".encode()),
        "claims deep": forge(json.dumps(GOOD_HEADER).encode(), b'{"a":' * 400 + b"1" + b"}" * 400),
        "no JSON": forge(b"x", b"y"),
        "dots": "..",
        "large": claim(extra="x" * 4096),
    }


def _respelt(token: str) -> str:
    """The same bytes with other unused bits in the last character."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


ADDRESSES: Mapping[str, tuple[str, int]] = {
    "SQL in limit": ("/scores?limit=1;DROP%20TABLE%20users", 400),
    "SQL in offset": ("/scores?offset=1%20OR%201=1", 400),
    "SQL in a user": ("/scores/users/1%20OR%201=1", 404),
    "SQL quoted in a user": ("/scores/users/1%27%3BDROP%20TABLE%20users--", 404),
    "SQL in an outcome": ("/scores/updates/%27%20OR%20%271%27=%271", 404),
    "Arabic digit": ("/scores?limit=%D9%A5", 400),
    "limit twice": ("/scores?limit=1&limit=2", 400),
    "limit in brackets": ("/scores?limit[]=1", 200),
    "limit huge": ("/scores?limit=" + "9" * 400, 400),
    "limit with line end": ("/scores?limit=1%0d%0aX:y", 400),
    "dots": ("/assets/../../../etc/passwd", 404),
    "encoded dots": ("/assets/%2e%2e/%2e%2e/pyproject.toml", 404),
    "slashes": ("//etc/passwd", 404),
    "broken escape": ("/%zz", 404),
    "broken UTF-8": ("/%ff%fe", 404),
    "CRLF": ("/%0d%0aSet-Cookie:%20a=b", 404),
    "ANSI": ("/%1b[31mred", 404),
    "template": ("/{{7*7}}", 404),
    "absolute": ("http://elsewhere.example/scores", 200),
    "event id twice": ("/scores/stream?lastEventId=1&lastEventId=2", 400),
    "token in the address": ("/scores/updates/00000000-0000-4000-8000-000000000000?token=x", 401),
    "ticket invented": ("/scores/stream?ticket=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 401),
    "ticket with a pattern": ("/scores/stream?ticket=*", 401),
    "TRACE-like": ("/healthz?<script>alert(1)</script>", 200),
}
"""Addresses to GET without a token, and their status."""

EVENT_IDS: Mapping[str, str] = {
    "negative": "-1",
    "with a line end": "1%0a",
    "with a field of its own": "1%0d%0aX-Id:%202",
    "beyond 63 bits": "9223372036854775808",
}
"""Ids of events that are none of ours: the stream begins with the whole board, and repeats none of
their text."""


_ITEM = b'{"userId":1,"increment":7}'

BATCHES: Mapping[str, tuple[bytes, int]] = {
    "nothing": (b"", 422),
    "empty list": (b"[]", 422),
    "object": (_ITEM, 422),
    "501 items": (b"[" + b",".join([_ITEM] * 501) + b"]", 422),
    "null item": (b"[null]", 422),
    "nested list": (b"[[" + _ITEM + b"]]", 422),
    "unknown member": (b'[{"userId":1,"increment":7,"admin":true}]', 422),
    "float": (b'[{"userId":1,"increment":7.0}]', 422),
    "NaN": (b'[{"userId":1,"increment":NaN}]', 422),
    "text for a number": (b'[{"userId":"1","increment":7}]', 422),
    "id zero": (b'[{"userId":0,"increment":7}]', 422),
    "id beyond 64 bits": (b'[{"userId":18446744073709551617,"increment":7}]', 422),
    "increment beyond 64 bits": (b'[{"userId":1,"increment":18446744073709551617}]', 422),
    "name twice": (b'[{"userId":2,"userId":1,"increment":7}]', 422),
    "name twice, escaped": (b'[{"userId":2,"user\\u0049d":1,"increment":7}]', 422),
    "increment twice": (b'[{"userId":1,"increment":1,"increment":7}]', 422),
    "key twice": (b'[{"userId":1,"increment":7,"key":"a","key":"b"}]', 422),
    "key twice, colons in it": (b'[{"userId":1,"increment":7,"key":":","key":"\\u003a"}]', 422),
    "name twice in the last": (b"[" + _ITEM + b',{"userId":2,"userId":1,"increment":7}]', 422),
    "key a number": (b'[{"userId":1,"increment":7,"key":1}]', 422),
    "trailing comma": (b"[" + _ITEM + b",]", 422),
    "two values": (b"[" + _ITEM + b"][]", 422),
    "byte order mark": (b"\xef\xbb\xbf[" + _ITEM + b"]", 422),
    "UTF-16": (("[" + _ITEM.decode() + "]").encode("utf-16"), 422),
    "broken UTF-8": (b'[{"userId":1,"increment":7,"key":"\xff"}]', 422),
    "lone surrogate": (b'[{"userId":1,"increment":7,"key":"\\ud800"}]', 422),
    "deep": (b"[" * 5000 + b"]" * 5000, 422),
    "large": (b"[" + b" " * 100_000 + b"]", 413),
}
"""Bodies of an authorised batch that must be refused whole, and their status."""

TARGETS: Mapping[str, tuple[bytes, int]] = {
    **{
        f"other spelling {target.decode()}": (target, 404)
        for target in (
            *(b"/scores/", b"//scores", b"/scores//", b"/./scores", b"/x/../scores", b"/scores/."),
            *(b"/%73cores", b"/scores%2f", b"/scores%00", b"/%2e%2e/scores", b"/..%2fscores"),
            *(b"/SCORES", b"/Admin/stats", b"/admin/stats/", b"/admin//stats", b"/admin/./stats"),
            *(b"/admin%2fstats", b"/%61dmin/stats", b"/admin/stats;a=b", b"/admin/stats%20"),
            *(b"/admin\\stats", b"/;/admin/stats", b"/scores;/../admin/stats", b"//", b"///"),
            *(b"/scores/users/%31", b"/scores/users/1/", b"/scores/users//1", b"/assets//app.js"),
            *(b"/assets/..%2f..%2fpyproject.toml", b"/assets/%2e%2e%2fapp.js", b"/.git/config"),
            *(b"/healthz/", b"/healthz%0a", b"/metrics/", b"/metrics%2e", b"/scores/stream/"),
        )
    },
    **{
        f"malformed {target.decode('latin-1')}": (target, 400)
        for target in (
            *(b"/scores#top", b"/admin/stats#/scores", b"/scores?a=1#b", b"*", b"scores", b"?x"),
            *(b"a:80", b"http:/scores", b"http://", b"http:///scores", b"http://u@a/scores"),
            *(b"http://a b/scores", b"ftp://a/scores", b"http://[::1/scores", b"http://a:b/scores"),
            *(
                b"javascript:alert(1)",
                b"file:///etc/passwd",
                b"\\\\a\\b",
                b"/scores\x7f",
                b"/\xc3\xb6",
            ),
        )
    },
}
"""Targets to GET as they stand, and their status."""

CHUNKS: Mapping[str, bytes] = {
    "no size": b"\r\n%b\r\n0\r\n\r\n",
    "size of nine digits": b"00000001a\r\n%b\r\n0\r\n\r\n",
    "size in decimal words": b"26 bytes\r\n%b\r\n0\r\n\r\n",
    "size with blanks": b" 1a\r\n%b\r\n0\r\n\r\n",
    "blank after the size": b"1a \r\n%b\r\n0\r\n\r\n",
    "negative size": b"-1a\r\n%b\r\n0\r\n\r\n",
    "size in capitals with a prefix": b"0X1A\r\n%b\r\n0\r\n\r\n",
    "underscore in the size": b"1_a\r\n%b\r\n0\r\n\r\n",
    "size ends with LF": b"1a\n%b\r\n0\r\n\r\n",
    "size ends with CR": b"1a\r%b\r\n0\r\n\r\n",
    "content ends with LF": b"1a\r\n%b\n0\r\n\r\n",
    "content too long": b"19\r\n%b\r\n0\r\n\r\n",
    "content too short": b"1b\r\n%b\r\n0\r\n\r\n",
    "empty extension": b"1a;\r\n%b\r\n0\r\n\r\n",
    "extension without a name": b"1a;=b\r\n%b\r\n0\r\n\r\n",
    "extension without a value": b"1a;a=\r\n%b\r\n0\r\n\r\n",
    "CR in an extension": b"1a;a\rb\r\n%b\r\n0\r\n\r\n",
    "quote left open": b'1a;a="b\r\n%b\r\n0\r\n\r\n',
    "NUL in an extension": b"1a;a\0\r\n%b\r\n0\r\n\r\n",
    "extensions without end": b"1a;" + b"a" * 5000 + b"\r\n%b\r\n0\r\n\r\n",
    "trailer Content-Length": b"1a\r\n%b\r\n0\r\nContent-Length: 1\r\n\r\n",
    "trailer Transfer-Encoding": b"1a\r\n%b\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer Host": b"1a\r\n%b\r\n0\r\nHost: b\r\n\r\n",
    "trailer Cookie": b"1a\r\n%b\r\n0\r\nCookie: a=b\r\n\r\n",
    "trailer Idempotency-Key": b"1a\r\n%b\r\n0\r\nIdempotency-Key: k\r\n\r\n",
    "trailer Signature": b"1a\r\n%b\r\n0\r\nSignature: x\r\n\r\n",
    "trailer folded": b"1a\r\n%b\r\n0\r\nX: a\r\n b\r\n\r\n",
    "trailer without a colon": b"1a\r\n%b\r\n0\r\nX\r\n\r\n",
    "trailers without end": b"1a\r\n%b\r\n0\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
    "request in place of trailers": b"1a\r\n%b\r\n0\r\nGET /admin/stats HTTP/1.1\r\n\r\n",
}
"""Chunked forms of an authorised update (%b) that must get 400."""

METHODS = ("PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get", "Get", "X", "POST")
"""Methods that GET /scores does not take."""
