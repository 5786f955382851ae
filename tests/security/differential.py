"""Reads each request with five readers and compares: `python -m tests.security.differential`.

Our own parser of heads and bodies; the whole server on a connection without a socket, with and
without its fast path; Sanic's own parser; httptools (llhttp, Node's parser). Rules, each a find
when broken:

- what the server takes, every other reader takes the same way, or refuses;
- the server answers each request it has read exactly once, the same on both paths;
- what it does not take gets one 4xx and at most one line in the log, made of our own words;
- nothing ends in a 5xx, an exception, or a connection closed without an answer.
"""

import argparse
import asyncio
import logging
import multiprocessing
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import httptools
import msgspec
import structlog
from sanic import Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.config import Config
from sanic.http.constants import HTTP
from sanic.request import Request
from sanic.response import HTTPResponse
from sanic.server.protocols.http_protocol import HttpProtocol

from scoreboard.ratelimit import RateLimit
from scoreboard.tokens import Principal
from server.http.chunked import BadChunk, BodyTooLarge, ChunkedBody
from server.http.fast_path import FastPath
from server.http.head import CHUNKED, BadHead, parse_head
from server.http.problems import Problems
from server.http.protocol import StrictProtocol
from server.http.responses import wire_bytes
from server.http.routing import Route, add_routes
from server.submit.submission import NewIds, parse_submission
from tests.security.heads import Requests

BODY_MAX = 96 * 1024
TURNS = 40
REASONS = frozenset(
    (
        *("syntax", "framing", "host", "fragment", "target", "path", "framework", "expect"),
        *("content-encoding", "size"),
    )
)
COMPARED = frozenset((b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT"))
PRINCIPAL = Principal(subject="1", scopes=frozenset(), expires_s=2**40)
_ANSWER = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ")
_VARIES = re.compile(rb"date: [^\r]*|[0-9a-f]{8}-[0-9a-f-]{27}")


class Read(NamedTuple):
    """A request as a reader understands it."""

    method: bytes
    target: bytes
    body: bytes


class Find(Exception):
    """Readers disagree, or the server did not refuse cleanly."""


def read_ours(data: bytes) -> tuple[list[Read], bool]:
    """The requests that our parser takes from `data`, and whether it refuses what follows."""
    found: list[Read] = []
    buffer = bytearray(data)
    while (end := buffer.find(b"\r\n\r\n")) >= 0:
        raw = bytes(buffer[:end])
        try:
            head = parse_head(raw)
        except BadHead:
            return found, True
        del buffer[: end + 4]
        body = b""
        if head.length == CHUNKED:
            decoder = ChunkedBody(BODY_MAX)
            try:
                body = decoder.take(buffer)
            except (BadChunk, BodyTooLarge):
                return found, True
            if not decoder.done:
                return found, False
        elif head.length is not None:
            if head.length > BODY_MAX:
                return found, True
            if len(buffer) < head.length:
                return found, False
            body = bytes(buffer[: head.length])
            del buffer[: head.length]
        found.append(Read(head.method.encode(), raw.split(b" ", 2)[1], body))
        if not head.keep_alive:
            break
    return found, False


class _Llhttp:
    def __init__(self) -> None:
        self.found: list[Read] = []
        self.target = self.body = b""
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.target = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.found.append(Read(self.parser.get_method(), self.target, self.body))


def read_llhttp(data: bytes) -> list[Read]:
    """The requests that llhttp takes from `data` before it refuses or must wait."""
    reader = _Llhttp()
    with suppress(httptools.HttpParserError):
        try:
            reader.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # It takes the offer of another protocol for granted and reads no further; a server
            # that does not switch, as this one never does, reads the body (RFC 9110, 7.8).
            reader.found.pop()
    return reader.found


class Transport(asyncio.Transport):
    """What a protocol writes, without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None: ...


def server(*, fast_path: bool) -> tuple[Sanic[Any, Any], list[Read]]:
    """The server's own HTTP around handlers of a line each, and the requests these have read."""
    problems = Problems(RateLimit(count=100, window_us=1_000_000))
    config = Config(env_prefix="")
    config.update({"AUTO_EXTEND": False, "ACCESS_LOG": False, "REQUEST_MAX_SIZE": BODY_MAX})
    config.FALLBACK_ERROR_FORMAT = "text"
    app: Sanic[Any, Any] = Sanic(
        f"differential-{fast_path}",
        config=config,
        error_handler=problems,
        configure_logging=False,
        strict_slashes=True,
    )
    found: list[Read] = []
    new_id = NewIds()
    loop = asyncio.get_running_loop()

    def submit(*_: object) -> "asyncio.Future[int]":
        waiter: asyncio.Future[int] = loop.create_future()
        waiter.set_result(99)
        return waiter

    def accept(name: str) -> HTTPResponse:
        return HTTPResponse(f'{{"id":"{name}"}}', status=202, headers={"location": name})

    path = FastPath(
        principal=lambda token: PRINCIPAL if token == "t" else None,
        ready=lambda: True,
        submit=submit,
        new_id=new_id,
        accept=accept,
        quota_line=lambda _: b"",
        refuse=problems.answer,
        page=lambda: wire_bytes(HTTPResponse(b"[]", content_type="application/json")),
    )

    def note(request: Request) -> None:
        found.append(Read(request.method.encode(), request.raw_url, request.body))

    async def scores(request: Request, **_: str) -> HTTPResponse:
        note(request)
        if fast_path and not request.query_string and request.path == "/scores":
            path.learn_read(request)
        return HTTPResponse(b"[]", content_type="application/json")

    async def update(request: Request) -> HTTPResponse:
        note(request)
        headers = request.headers
        if headers.getall("authorization", ()) != ["Bearer t"]:
            return HTTPResponse(status=401)
        parsed = parse_submission(
            PRINCIPAL,
            headers.getall("idempotency-key", ()),
            headers.get("content-type", ""),
            request.body,
            1,
            new_id,
        )
        if fast_path:
            path.learn_submission(request)
        del parsed
        return accept("00000000-0000-4000-8000-000000000000")

    routes = [
        Route("GET", "/", "root", scores),
        Route("GET", "/scores", "scores", scores),
        Route("GET", "/scores/users/<user>", "user", scores),
        Route("GET", "/scores/updates/<name>", "outcome", scores),
        Route("POST", "/scores/update", "update", update),
    ]
    add_routes(
        app,
        routes,
        base="",
        around=lambda route: problems.answering(route.handler),
        check_origin=lambda _: None,
    )
    app.ctx.fast_path = path if fast_path else None
    app.ctx.fields = lambda _: ()
    app.ctx.refusal_delay_s = lambda _: 0.0
    app.ctx.answered = lambda: path.answered
    return app, found


async def talk(protocol: HttpProtocol, data: bytes, is_over: Callable[[bytes], bool]) -> Transport:
    """Hand `data` to a protocol and let it work until it is done or waits for more."""
    transport = Transport()
    protocol.connection_made(transport)  # type: ignore[no-untyped-call]
    protocol.data_received(data)
    for turn in range(TURNS):
        await asyncio.sleep(0)
        if transport.closed or (turn > 4 and is_over(transport.written)):
            break
    return transport


async def hang_up(protocol: HttpProtocol) -> None:
    """The client is gone: the protocol's task must end."""
    task = protocol._task
    if protocol.transport is not None:
        protocol.transport.close()
    protocol.connection_lost(None)  # type: ignore[no-untyped-call]
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task])


class Comparison:
    """The readers, side by side. Made inside a running loop."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.events: list[dict[str, Any]] = []
        self._loop = asyncio.get_running_loop()
        self._slow, self._slow_found = server(fast_path=False)
        self._fast, self._fast_found = server(fast_path=True)
        self._stock = Sanic("differential-stock", config=self._slow.config, configure_logging=False)

    async def start(self) -> None:
        """As a server starts."""
        for app in self.apps:
            app.state.server_info.append(
                ApplicationServerInfo(settings={"version": HTTP.VERSION_1})
            )
            await app._startup()  # type: ignore[no-untyped-call]

    @property
    def apps(self) -> tuple[Sanic[Any, Any], ...]:
        return self._slow, self._fast, self._stock

    async def check(self, data: bytes) -> None:
        """Compare all readers on `data`. Raises Find."""
        ours, refused = read_ours(data)
        self.counts["inputs"] += 1
        self.counts["requests taken"] += len(ours)
        self.counts["refused"] += refused
        llhttp = read_llhttp(data)
        for mine, theirs in zip(ours, llhttp, strict=False):
            if mine.method not in COMPARED or theirs.method not in COMPARED:
                break
            if mine != theirs:
                raise Find(f"llhttp reads {theirs}, not {mine}")
        slow = await self._served(self._slow, self._slow_found, data, ours, refused)
        fast = await self._served(self._fast, self._fast_found, data, ours, refused)
        if _lines(slow) != _lines(fast):
            raise Find(f"fast path: {fast!r}, not {slow!r}")
        if ours:
            await self._check_stock(data, ours[0])

    async def _served(
        self, app: Sanic[Any, Any], found: list[Read], data: bytes, ours: list[Read], refused: bool
    ) -> bytes:
        found.clear()
        self.events.clear()
        due = len(ours) + refused

        def is_over(written: bytes) -> bool:
            return len(_ANSWER.findall(written)) >= due

        protocol = StrictProtocol(loop=self._loop, app=app, connections=set())
        transport = await talk(protocol, data, is_over)
        statuses = [int(status) for status in _ANSWER.findall(transport.written)]
        statuses = [status for status in statuses if status != 100]
        await hang_up(protocol)
        failed = [event for event in self.events if event["event"] != "head_refused"]
        if failed or any(status >= 500 for status in statuses):
            raise Find(f"{statuses}, {failed}")
        if len(self.events) > 1 or any(event["reason"] not in REASONS for event in self.events):
            raise Find(f"logged {self.events}")
        # A head may end the connection before later requests are read (415, 417), or be answered
        # before its body is there (405).
        early = statuses and statuses[-1] >= 400
        if len(statuses) != due and not (early and len(statuses) <= due + 1):
            raise Find(f"{statuses} for {len(ours)} requests, refused: {refused}")
        if refused and not (statuses and 400 <= statuses[-1] < 500 and transport.closed):
            raise Find(f"not refused cleanly: {statuses}, closed: {transport.closed}")
        taken = iter(ours)
        for read in found:
            # A handler's request is one of those our parser took, in order.
            if not any(read.method == one.method and read.body == one.body for one in taken):
                raise Find(f"the handler read {read}, not one of {ours}")
        return transport.written

    async def _check_stock(self, data: bytes, mine: Read) -> None:
        """Sanic's own protocol reads the first request the same way, or refuses it."""
        found: list[Read] = []

        async def note(request: Request) -> None:
            await request.receive_body()  # type: ignore[no-untyped-call]
            found.append(Read(request.method.encode(), request.raw_url, request.body))
            response = await request.respond(HTTPResponse(status=204))
            await response.eof()

        protocol = HttpProtocol(loop=self._loop, app=self._stock, connections=set())
        protocol.request_handler = note
        await talk(protocol, data, lambda written: bool(found) or bool(written))
        await hang_up(protocol)
        if found and found[0] != mine:
            raise Find(f"Sanic reads {found[0]}, not {mine}")


def _lines(answers: bytes) -> list[bytes]:
    """What must not differ: all lines, in any order, without dates and ids."""
    return sorted(_VARIES.sub(b"", answers).split(b"\r\n"))


@contextmanager
def logged(events: list[dict[str, Any]]) -> Iterator[None]:
    """Everything that is logged, by structlog or by Sanic, goes to `events`."""

    def keep(_: Any, __: str, event: Any) -> Any:
        events.append(dict(event))
        raise structlog.DropEvent

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                events.append({"event": record.getMessage()})

    before = structlog.get_config()
    handler = Handler()
    loggers = [logging.getLogger(name) for name in ("sanic.error", "sanic.server", "sanic.root")]
    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    for each in loggers:
        each.addHandler(handler)
    try:
        yield
    finally:
        for each in loggers:
            each.removeHandler(handler)
        structlog.configure(**before)


async def compare(inputs: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """Counts, and the finds with their inputs; stops after a few."""
    Sanic.test_mode = True
    comparison = Comparison()
    await comparison.start()
    requests = Requests(seed)
    finds: list[str] = []
    with logged(comparison.events):
        for _ in range(inputs):
            data = requests.one()
            try:
                await comparison.check(data)
            except Find as find:
                finds.append(f"{data!r}: {find}")
                if len(finds) >= 10:
                    break
    comparison.counts["answered on the fast path"] = comparison._fast.ctx.answered()
    for app in comparison.apps:
        Sanic.unregister_app(app)
    return dict(comparison.counts), finds


def _share(job: tuple[int, int]) -> tuple[dict[str, int], list[str]]:
    logging.getLogger("sanic.error").propagate = False
    return asyncio.run(compare(*job))


def run(inputs: int, *, seed: int, processes: int) -> tuple[Counter[str], list[str]]:
    """`inputs` over so many processes, each with a seed of its own."""
    jobs = [(inputs // processes, seed * 1000 + number) for number in range(processes)]
    counts: Counter[str] = Counter()
    finds: list[str] = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for found, wrong in pool.imap_unordered(_share, jobs):
            counts.update(found)
            finds += wrong
    return counts, finds


def main() -> int:
    """Compare, and say what was found. Exit status 1 when anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began = time.monotonic()
    counts, finds = run(options.inputs, seed=options.seed, processes=options.processes)
    print(msgspec.json.encode(counts).decode(), f"in {time.monotonic() - began:.0f} s")
    for find in finds:
        print(f"FOUND {find}")
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
