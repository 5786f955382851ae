"""Generates requests that are good, nearly good or hostile, from a seed. Sends nothing.

Each is a list of well-formed parts with a few of them changed the way attacks change them: fields
doubled, names and values bent, line ends broken, lengths and chunks that disagree, targets in every
spelling, another request behind the first.
"""

import random

METHODS = (b"GET", b"GET", b"GET", b"POST", b"POST", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"get")
PATHS = (
    *(b"/scores", b"/scores", b"/scores", b"/scores/update", b"/scores/update", b"/scores/update"),
    *(b"/", b"/scores?limit=3", b"/scores/users/1", b"/scores/updates/x", b"/nowhere", b"/scores/"),
)
ODD_TARGETS = (
    *(
        b"*",
        b"//",
        b"//a/scores",
        b"/scores#x",
        b"/scores?a#b",
        b"/%73cores",
        b"/%zz",
        b"/%",
        b"/..",
    ),
    *(b"/./scores", b"/scores/../x", b"http://b/scores", b"HTTP://b:80", b"http://b?x", b"http://"),
    *(
        b"https://u@b/",
        b"http://[::1]:80/scores",
        b"http://[",
        b"a:80",
        b"scores",
        b"?x",
        b"/\\scores",
    ),
    *(
        b"/scores?\x7f",
        b"/sc\xc3\xb6res",
        b"/scores|",
        b"/<script>",
        b"/scores;v=1",
        b"/{}",
        b"/^`",
    ),
    *(
        b"/scores?[]=1",
        b"/scores??",
        b"/scores?%",
        b"/" + b"a/" * 40,
        b"/scores/users/%2e",
        b"/:",
        b"/:80",
    ),
    *(
        b"ftp://b/scores",
        b"http:/scores",
        b"http:scores",
        b"/scores/update/",
        b"/@b:80/x",
        b"/http://b/",
    ),
)
FIELDS = (
    *(b"Accept: */*", b"User-Agent: x/1", b"Connection: keep-alive", b"Connection: close"),
    *(b"Authorization: Bearer t", b"Content-Type: application/json", b"Idempotency-Key: k"),
    *(b"Accept-Encoding: gzip", b"Expect: 100-continue", b"Expect: 200-ok", b"Upgrade: websocket"),
    *(b"Connection: Upgrade", b"Origin: https://a.example", b'If-None-Match: "x"', b"X-Empty:"),
    *(
        b"Content-Encoding: gzip",
        b"Content-Encoding: identity",
        b"Cookie: a=b; c=d",
        b"TE: trailers",
    ),
    *(
        b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
        b"X: J\xc3\xb6rg",
        b"X: \xff\xfe",
    ),
    *(b"Connection: close, keep-alive", b"Connection: x", b"Keep-Alive: 5", b"Trailer: X"),
)
BAD_FIELDS = (
    *(b" X: folded", b"\tX: folded", b"X : y", b"X\t: y", b": y", b"X", b"X: a\0b", b"X: a\rb"),
    *(
        b"X: a\nb",
        b"X\0: y",
        b"X\xc3: y",
        b"X: a\x0bb",
        b"X: a\x7f",
        b"Host: b",
        b"Host: a, b",
        b"Host:",
    ),
    *(b"Host: a/b", b"Host: a@b", b"Host: [::1", b"Host: a:b", b"Host : a", b"hOsT: a", b"X(y): z"),
    *(
        b'"X": y',
        b"X,Y: z",
        b"Content-Length : 5",
        b"Content_Length: 5",
        b"Transfer-Encoding : chunked",
    ),
)
LENGTHS = (
    *(
        b"+%d",
        b"-%d",
        b"0%d",
        b"%d ",
        b" %d",
        b"%d, %d",
        b"%d;",
        b"0x%x",
        b"%d.0",
        b"",
        b"1_%d",
        b"%d\t",
    ),
    *(b"99999999999999999999", b"99999999", b"%d\xd9\xa5"),
)
CODINGS = (
    *(
        b"chunked",
        b"chunked",
        b"chunked",
        b"Chunked",
        b"CHUNKED",
        b"chunked ",
        b"xchunked",
        b"identity",
    ),
    *(
        b"gzip, chunked",
        b"chunked, chunked",
        b"chunked;a=b",
        b"\x0bchunked",
        b'"chunked"',
        b"",
        b"chunked,",
    ),
)
SIZES = (
    b"%x",
    b"%x",
    b"%x",
    b"%X",
    b"0%x",
    b"0x%x",
    b"+%x",
    b"%x ",
    b" %x",
    b"%x;a=b",
    b'%x;a="\\"c"',
)
ODD_SIZES = (
    b"%x;",
    b"%x;\n",
    b"%x\n",
    b"-%x",
    b"%x;a=\x7f",
    b"ffffffff%x",
    b"%xg",
    b"",
    b"%x;a;b=c",
    b"%x\r",
)
ENDS = (
    b"0\r\n\r\n",
    b"0\r\n\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"000\r\n\r\n",
    b"0;a\r\n\r\n",
)
ODD_ENDS = (
    *(
        b"0\r\n",
        b"0\n\n",
        b"0\r\nHost: b\r\n\r\n",
        b"0\r\nContent-Length: 3\r\n\r\n",
        b"0\r\n\r\r\n",
    ),
    *(
        b"",
        b"0\r\nX y\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"00000000000\r\n\r\n",
    ),
)
BODIES = (
    b'{"userId":1,"increment":7}',
    b'{"userId":1,"increment":7}',
    b"",
    b"x",
    b"\r\n\r\n",
    b"0\r\n\r\n",
)
VERSIONS = (
    b"HTTP/1.0",
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"http/1.1",
    b"HTTP/1.1 ",
    b"HTTP/01.1",
    b"HTTP/1",
    b"",
    b"X",
)
NOISE = bytes(range(256))


class Requests:
    """An endless source of inputs; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._choice = self._random.choice

    def _chance(self, of: int) -> bool:
        return self._random.randrange(of) == 0

    def one(self) -> bytes:
        """The bytes of one connection: one to three requests."""
        data = self._request()
        while self._chance(4):
            data += self._request()
        if self._chance(6):
            data = self._noisy(data)
        return data

    def _noisy(self, data: bytes) -> bytes:
        at = self._random.randrange(len(data) + 1)
        kind = self._random.randrange(4)
        if kind == 0:
            return data[:at]
        if kind == 1:
            return data[:at] + data[at + 1 :]
        byte = self._choice((*b"\r\n\0 \t:;,%#?/\\.\x7f\x80\xff", self._choice(NOISE)))
        return data[:at] + bytes([byte]) + data[at + (kind == 2) :]

    def _request(self) -> bytes:
        method, target = self._choice(METHODS), self._choice(PATHS)
        version = b"HTTP/1.1"
        if self._chance(8):
            target = self._choice(ODD_TARGETS)
        if self._chance(25):
            version = self._choice(VERSIONS)
        fields = [b"Host: a"]
        if self._chance(3):
            fields += [self._choice(FIELDS) for _ in range(self._random.randrange(4))]
        if method == b"POST" and not self._chance(4):
            fields += [b"Authorization: Bearer t", b"Content-Type: application/json"]
        body = self._choice(BODIES)
        if method == b"POST" or self._chance(8):
            fields, body = self._with_body(fields, body)
        else:
            body = b""
        if self._chance(12):
            fields.insert(self._random.randrange(len(fields) + 1), self._choice(BAD_FIELDS))
        if self._chance(25):
            self._bend(fields)
        space = b" " if not self._chance(80) else self._choice((b"  ", b"\t", b"", b"\r\n "))
        line = method + space + target + b" " + version
        end = b"\r\n" if not self._chance(60) else self._choice((b"\n", b"\r", b"\r\r\n", b"\n\r"))
        return end.join([line, *fields]) + end + b"\r\n" + body

    def _bend(self, fields: list[bytes]) -> None:
        at = self._random.randrange(len(fields))
        field = fields[at]
        kind = self._random.randrange(4)
        if kind == 0:
            fields.append(field)
        elif kind == 1:
            del fields[at]
        elif kind == 2:
            fields[at] = field.swapcase()
        else:
            fields[at] = field.replace(
                b": ", self._choice((b":", b":\t", b" :", b": \t ", b":\r\n "))
            )

    def _with_body(self, fields: list[bytes], body: bytes) -> tuple[list[bytes], bytes]:
        length = b"Content-Length: %d" % len(body)
        if not self._chance(3):
            if self._chance(6):
                form = self._choice(LENGTHS)
                length = b"Content-Length: " + form.replace(b"%d", b"%d" % len(body)).replace(
                    b"%x", b"%x" % len(body)
                )
            return [*fields, length], body
        coding = b"chunked" if not self._chance(4) else self._choice(CODINGS)
        fields = [*fields, b"Transfer-Encoding: " + coding]
        if self._chance(10):
            fields.insert(self._random.randrange(len(fields) + 1), length)
        return fields, self._chunks(body)

    def _chunks(self, body: bytes) -> bytes:
        cut = self._random.randrange(len(body) + 1)
        data = b""
        for piece in (body[:cut], body[cut:]):
            if piece:
                form = self._choice(ODD_SIZES if self._chance(12) else SIZES)
                data += form.replace(b"%x", b"%x" % len(piece)).replace(b"%X", b"%X" % len(piece))
                data += b"\r\n" + piece + (b"\r\n" if not self._chance(40) else b"\n")
        return data + self._choice(ODD_ENDS if self._chance(8) else ENDS)
