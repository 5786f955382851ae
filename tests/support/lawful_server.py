"""A scoreboard of the specification that frames its answers and streams in every lawful way.

Honest, in memory, on a thread of the test's process: what varies is HTTP, the spelling of the
event stream, and the event ids. Not for speed.
"""

import asyncio
import gzip
import itertools
import json
import re
import threading
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

IdOf = Callable[[int], bytes | None]
"""The id of event n (from 1); None for no id."""
TICK_S = 0.005
Spell = Callable[[bytes], bytes]


def as_is(text: bytes) -> bytes:
    """The text itself."""
    return text


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a server speaks. `post` is the whole answer to a submission, with a `%d` for its number.

    `framing`: chunked, close or length (of more bytes than will ever come). `cut`: bytes per write,
    0 for all at once. `counts_each`: events are counted by connection.
    `spell` changes the text of an event. `ends_after`: so many events, and then the stream ends;
    every third one goes on. `head`: added to the head of the stream; `before` comes first.
    """

    framing: str = "chunked"
    status: bytes = b"HTTP/1.1 200 OK"
    head: bytes = b"Content-Type: text/event-stream\r\n"
    before: bytes = b""
    begin: bytes = b""
    spell: Spell = as_is
    id_of: IdOf = lambda _: None
    counts_each: bool = False
    cut: int = 0
    extension: bytes = b""
    gzip: str = ""
    late_head: bool = False
    ends_after: int = 0
    post: bytes = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"message":"ok"}'
    post_closes: bool = False
    sequence: bool = False
    exact: bool = False
    """A path with a query is no path of its own."""


class LawfulServer:
    """One server with one style. `seen` counts requests, `resumed` holds the ids sent back."""

    def __init__(self, style: Style, *, users: int = 100) -> None:
        self.style = style
        self.scores = {f"User{n:05d}": 0 for n in range(1, users + 1)}
        self.seen: Counter[str] = Counter()
        self.resumed: list[bytes] = []
        self.events = 0
        self.streams = 0
        self._listeners: set[Listener] = set()
        self.url = ""
        self.listens = asyncio.Event()

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve on a free port until told to stop."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.listens.set()
        try:
            await stop.wait()
        finally:
            server.close()
            for listener in self._listeners:
                listener.writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(
            line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
        )
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        method, target, _ = head.split(b" ", 2)
        self.seen[f"{method.decode()} {target.partition(b'?')[0].decode()}"] += 1
        if method == b"POST":
            return await self._submit(json.loads(body), writer)
        if target.startswith(b"/scores/stream"):
            if (last := fields.get(b"last-event-id")) is not None:
                self.resumed.append(last)
            self.streams += 1
            await Listener(self.style, writer, self.streams).follow(self._listeners)
            return False
        if self.style.exact and b"?" in target:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        rows = sorted(self.scores.items(), key=lambda row: -row[1])[:10]
        text = json.dumps([{"user": user, "score": score} for user, score in rows]).encode()
        extra = b"Scoreboard-Seq: %d\r\n" % self.events if self.style.sequence else b""
        writer.write(
            b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (extra, len(text), text)
        )
        return True

    async def _submit(self, fields: dict[str, int], writer: asyncio.StreamWriter) -> bool:
        if "userId" not in fields:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return True
        user = f"User{fields['userId']:05d}"
        self.scores[user] += fields["increment"]
        self.events += 1
        for listener in tuple(self._listeners):
            listener.tell(self.events, user, self.scores[user])
        writer.write(self.style.post.replace(b"%d", b"%d" % self.events))
        await writer.drain()
        return not self.style.post_closes


@dataclass(eq=False)
class Listener:
    """One stream."""

    style: Style
    writer: asyncio.StreamWriter
    number: int
    told: int = 0
    waiting: list[bytes] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, listeners: "set[Listener]") -> None:
        """Send events until the stream ends by plan or the client leaves."""
        style = self.style
        pack = _packer(style.gzip)
        head = style.before + style.status + b"\r\n" + style.head + _framing(style) + b"\r\n"
        begin = head + self._framed(pack(style.begin))
        listeners.add(self)
        try:
            if not style.late_head:
                await self._send(begin)
                begin = b""
            while not self.writer.is_closing():
                await asyncio.sleep(TICK_S)
                events, self.waiting = self.waiting, []
                if events:
                    await self._send(begin + b"".join(self._framed(pack(e)) for e in events))
                    begin = b""
                if self.ended.is_set():
                    await self._send(b"0\r\nTold: 1\r\n\r\n" if style.framing == "chunked" else b"")
                    return
        finally:
            listeners.discard(self)

    def tell(self, number: int, user: str, score: int) -> None:
        """An event happened."""
        style = self.style
        if self.ended.is_set():
            return
        identifier = style.id_of(self.told if style.counts_each else number)
        self.told += 1
        field = b"" if identifier is None else b"id: " + identifier + b"\n"
        data = json.dumps({"user": user, "score": score}).encode()
        self.waiting.append(style.spell(field + b"event: update\ndata: " + data + b"\n\n"))
        if self.told == style.ends_after and self.number % 3:
            self.ended.set()

    def _framed(self, text: bytes) -> bytes:
        if self.style.framing != "chunked" or not text:
            return text
        half = len(text) // 2 if self.style.extension else 0
        parts = (text[:half], text[half:])
        return b"".join(
            b"%X%b\r\n%b\r\n" % (len(part), self.style.extension, part) for part in parts if part
        )

    async def _send(self, data: bytes) -> None:
        step = self.style.cut or len(data) or 1
        for at in range(0, len(data), step):
            if self.writer.is_closing():
                return
            self.writer.write(data[at : at + step])
            if self.style.cut:
                await asyncio.sleep(0)
        await self.writer.drain()


def _framing(style: Style) -> bytes:
    coding = b"Content-Encoding: gzip\r\n" if style.gzip else b""
    return (
        coding
        + {
            "chunked": b"Transfer-Encoding: chunked\r\n",
            "close": b"Connection: close\r\n",
            "length": b"Content-Length: 1000000000\r\n",
        }[style.framing]
    )


def _packer(kind: str) -> Spell:
    if kind == "members":
        return lambda text: gzip.compress(text) if text else b""
    if kind == "ordinary":
        deflate = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        return lambda text: deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return as_is


@contextmanager
def lawful_servers(styles: dict[str, Style]) -> Iterator[dict[str, LawfulServer]]:
    """Servers of these styles, each on a port of its own."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    servers = {name: LawfulServer(style) for name, style in styles.items()}
    ready = threading.Event()

    async def run() -> None:
        tasks = [asyncio.create_task(server.serve(stop)) for server in servers.values()]
        for server in servers.values():
            await server.listens.wait()
        ready.set()
        await asyncio.gather(*tasks)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield servers
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


AGAIN = b"retry: 20\n\n"


def _lines(end: bytes) -> Spell:
    return lambda text: text.replace(b"\n", end)


def _respelt(text: bytes) -> bytes:
    """Other member order and white space, numbers with a fraction, several data lines, no space."""
    before, _, data = text.partition(b"data: ")
    fields = json.loads(data)
    user = "".join(f"\\u{ord(c):04x}" for c in fields["user"])
    lines = ('{ "rank":1,', f' "score" :{fields["score"]}.0 ,', f'"user": "{user}"}}')
    again = b"".join(b"data:" + line.encode() + b"\n" for line in lines)
    return before.replace(b": ", b":") + again + b"\n"


def _scores_as_text(text: bytes) -> bytes:
    return re.sub(rb'"score": (\d+)', rb'"score": "\1.00"', text)


PACKED = gzip.compress(b'{"message":"ok"}', mtime=0)
FRAMINGS = {
    "scores as text": Style(spell=_scores_as_text),
    "no queries, answers in gzip": Style(
        exact=True,
        post=b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %b\r\n\r\n"
        % str(len(PACKED)).encode()
        + PACKED,
    ),
    "chunks": Style(),
    "crlf, cut between": Style(spell=_lines(b"\r\n"), cut=1),
    "cr": Style(spell=_lines(b"\r"), framing="close"),
    "byte order mark, comments and other types": Style(
        begin=b"\xef\xbb\xbf: hello\n\nevent: ping\ndata\n\n",
        spell=lambda text: b"event: presence\ndata: {}\n\n: beat\nfoo: bar\n" + text,
    ),
    "extensions and trailers": Style(extension=b';a="b c"', ends_after=13, begin=AGAIN),
    "until close": Style(framing="close"),
    "told length": Style(framing="length"),
    "http 1.0": Style(
        framing="close",
        status=b"HTTP/1.0 200 OK",
        post=b'HTTP/1.0 200 OK\r\n\r\n{"message":"ok"}',
        post_closes=True,
    ),
    "interim answers": Style(
        before=b"HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n",
        post=b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}",
    ),
    "odd heads": Style(
        status=b"HTTP/1.1 200",
        head=b"content-TYPE:text/event-stream;\r\n\tcharset=UTF-8\r\nX-Long: "
        + b"x" * 9000
        + b"\r\n",
        post=b"HTTP/1.1 202 \r\ncontent-length:2\r\n\r\n{}",
    ),
    "late head": Style(late_head=True),
    "late head until close": Style(late_head=True, framing="close", status=b"HTTP/1.0 200 ok"),
    "ordinary gzip": Style(gzip="ordinary"),
    "gzip members until close": Style(gzip="members", framing="close"),
    "streams that end": Style(ends_after=9, begin=AGAIN),
    "byte by byte": Style(cut=1),
    "other spelling": Style(spell=_respelt),
    "answers chunked": Style(
        post=b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2;x\r\n{}\r\n0\r\nA: b\r\n\r\n"
    ),
    "answers without a body": Style(post=b"HTTP/1.1 204 No Content\r\n\r\n"),
    "answers until close": Style(
        post=b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", post_closes=True
    ),
    "answers that close": Style(
        post=b"HTTP/1.1 200 OK\r\nconnection:CLOSE\r\nContent-Length: 2\r\n\r\n{}",
        post_closes=True,
    ),
}
_MS = 1_764_000_000_000
IDS = {
    "redis ids": Style(id_of=lambda n: b"%d-0" % (_MS + n)),
    "uuids": Style(id_of=lambda n: str(uuid.uuid5(uuid.NAMESPACE_OID, str(n))).encode()),
    "snowflakes": Style(id_of=lambda n: b"%d" % ((1 << 60) + (n << 22))),
    "milliseconds": Style(id_of=lambda n: b"%d" % (_MS + 3 * n)),
    "counters of each connection": Style(id_of=lambda n: b"%d" % n, counts_each=True),
    "on some events": Style(id_of=lambda n: b"%d" % n if n % 3 == 0 else None),
    "one of 10^17": Style(id_of=lambda n: b"%d" % (10**17 if n == 30 else n)),
    "negative": Style(id_of=lambda n: b"-%d" % n),
    "five thousand digits": Style(id_of=lambda n: b"9" * 5000 if n % 50 == 0 else b"%d" % n),
    "gapless, without a sequence header": Style(id_of=lambda n: b"%d" % n),
    "milliseconds with a sequence header": Style(sequence=True, id_of=lambda n: b"%d" % (_MS + n)),
    "no ids with a sequence header": Style(sequence=True),
    "late head with a sequence header": Style(sequence=True, late_head=True),
    "resumed as sent": Style(id_of=lambda n: "é-%d".encode() % n, ends_after=11, begin=AGAIN),
}
LAWFUL = dict(itertools.chain(FRAMINGS.items(), IDS.items()))
