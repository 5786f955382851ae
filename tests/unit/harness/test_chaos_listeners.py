"""Listeners of a chaos run in asyncio's loop: they come back, and bad bytes are the sender's."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness.chaos.listeners import Audience
from harness.evidence.history import HistoryWriter, Listen, read_history
from scoreboard.domain import Change
from scoreboard.gzipped import HEAD as GZIP_HEAD
from scoreboard.gzipped import stored
from scoreboard.sse import chunk, encode_hello, encode_updates
from tests.support.eventually import eventually

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ZIPPED = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")


class Heard:
    """The history that an audience writes, and the requests a server was sent."""

    def __init__(self, path: Path) -> None:
        self.writer = HistoryWriter(path, process="test")
        self.requests: list[bytes] = []

    def told(self, what: str) -> list[Listen]:
        self.writer.flush()
        records = read_history(self.writer.path).records
        return [r for r in records if isinstance(r, Listen) and r.what == what]

    def violations(self) -> list[str]:
        return [r.detail or "" for r in self.told("violation")]

    @asynccontextmanager
    async def server_that_says(self, reply: Callable[[bytes], bytes]) -> AsyncIterator[int]:
        """The port of a server that answers each request with `reply` of it, and hangs up."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            writer.write(reply(request))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    @asynccontextmanager
    async def audience(self, port: int, *, count: int = 1) -> AsyncIterator[Audience]:
        audience = Audience(self.writer, port, count=count, restless=0, rng=random.Random(1))
        audience.start()
        try:
            yield audience
        finally:
            await audience.stop()


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    opened = Heard(tmp_path / "history.jsonl")
    yield opened
    opened.writer.close()


def updates(first: int, last: int) -> bytes:
    return encode_updates(
        Change(seq=seq, user_id=1, name="Alice", score=seq, committed_us=1)
        for seq in range(first, last + 1)
    )


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (HEAD + b"3\r\n:\n\nid: 12", "chunk without end"),
        (HEAD + b"event: update\r\n", "unreadable chunk size"),
        (b"id: 12\nevent: update\r\n\r\n", "not HTTP/1.x"),
        (HEAD.replace(b"chunked\r\n", b"chunked\r\nContent-Encoding: br\r\n"), "encoding br"),
    ],
    ids=["a chunk too short", "no chunk size", "no HTTP", "an encoding nobody asked for"],
)
async def test_bytes_that_are_no_stream_are_a_violation_of_the_sender(
    heard: Heard, reply: bytes, why: str
) -> None:
    async with heard.server_that_says(lambda _: reply) as port, heard.audience(port):
        await eventually(lambda: bool(heard.violations()))

    assert heard.violations()[0].startswith("the stream cannot be read: ")
    assert why in heard.violations()[0]


async def test_a_stream_cut_off_in_mid_reply_is_no_violation(heard: Heard) -> None:
    cut = HEAD + b"ff\r\nid: 12\nevent: upd"
    async with heard.server_that_says(lambda _: cut) as port, heard.audience(port):
        await eventually(lambda: bool(heard.told("close")))

    assert heard.violations() == []


async def test_a_listener_that_lost_its_stream_resumes_from_its_cursor(heard: Heard) -> None:
    first = HEAD + chunk(encode_hello(10)) + chunk(updates(11, 12))
    rest = HEAD + chunk(encode_hello(12)) + chunk(updates(13, 14))

    def reply(request: bytes) -> bytes:
        return rest if b"Last-Event-ID: 12\r\n" in request else first

    async with heard.server_that_says(reply) as port, heard.audience(port) as audience:
        assert await audience.until_all(14, timeout_s=10)
        assert audience.newest_of("Alice") == 14
        assert audience.newest_of("Bob") == -1

    assert heard.violations() == []
    assert [(r.first, r.last) for r in heard.told("range")][:2] == [(11, 12), (13, 14)]


async def test_gzip_and_plain_listeners_record_equal_events(heard: Heard) -> None:
    def reply(request: bytes) -> bytes:
        payloads = (encode_hello(10), updates(11, 12))
        if b"Accept-Encoding: gzip\r\n" not in request:
            return HEAD + b"".join(map(chunk, payloads))
        head, *blocks = GZIP_HEAD, *map(stored, payloads)
        return ZIPPED + chunk(head) + b"".join(map(chunk, blocks))

    async with heard.server_that_says(reply) as port, heard.audience(port, count=2) as audience:
        assert await audience.until_all(12, timeout_s=10)

    assert {b"gzip" in request for request in heard.requests} == {True, False}
    assert heard.violations() == []
