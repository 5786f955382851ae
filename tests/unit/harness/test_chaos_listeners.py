"""Reading streams in a chaos run: equal bytes are read once, and accounted for with everyone."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness.chaos.listeners import Audience, Payloads
from harness.evidence.history import HistoryWriter, Listen, read_history
from harness.evidence.transcript import Canon, Listener
from scoreboard.domain import Change, Standing
from scoreboard.sse import HEARTBEAT, Snapshot, encode_hello, encode_snapshot, encode_updates
from tests.support.eventually import eventually


class Streams:
    """Payloads that are given to listeners, and the violations written so far."""

    def __init__(self, path: Path) -> None:
        self.writer = HistoryWriter(path, process="test")
        self.canon = Canon(self.writer)
        self.payloads = Payloads(self.canon)

    def told(self, what: str) -> list[str]:
        self.writer.flush()
        records = read_history(self.writer.path).records
        return [r.detail or "" for r in records if isinstance(r, Listen) and r.what == what]

    def violations(self) -> list[str]:
        return self.told("violation")


@pytest.fixture
def streams(tmp_path: Path) -> Streams:
    return Streams(tmp_path / "history.jsonl")


def updates(first: int, last: int) -> bytes:
    return encode_updates(
        Change(seq=seq, user_id=1, name="Alice", score=1500 + seq, committed_us=seq // 3)
        for seq in range(first, last + 1)
    )


def test_what_the_server_encodes_is_accepted_without_a_violation(streams: Streams) -> None:
    listener = Listener("l1", streams.canon)
    listener.opened()

    for payload in (encode_hello(10), updates(11, 15), HEARTBEAT, updates(16, 16)):
        streams.payloads.give(payload, listener)

    assert listener.cursor == 16
    assert listener.received == 6
    assert streams.violations() == []


def test_a_block_seen_before_is_still_checked_against_each_listeners_cursor(
    streams: Streams,
) -> None:
    for name, cursor in (("l1", 10), ("l2", 8)):
        listener = Listener(name, streams.canon)
        streams.payloads.give(encode_hello(cursor), listener)
        streams.payloads.give(updates(11, 12), listener)

    assert streams.violations() == ["changes 9 to 10 were never delivered; 11 came next"]


def test_a_block_that_leaves_one_out_inside_is_noticed(streams: Streams) -> None:
    listener = Listener("l1", streams.canon)
    streams.payloads.give(encode_hello(10), listener)

    streams.payloads.give(updates(11, 12) + updates(14, 15), listener)

    assert streams.violations() == ["changes 13 to 13 were never delivered; 14 came next"]


def test_another_payload_under_a_known_number_is_noticed(streams: Streams) -> None:
    for name, payload in (("l1", updates(11, 11)), ("l2", updates(11, 11).replace(b"15", b"16"))):
        listener = Listener(name, streams.canon)
        streams.payloads.give(encode_hello(10), listener)
        streams.payloads.give(payload, listener)

    assert len(streams.violations()) == 1


def test_a_reset_moves_on_and_the_next_change_follows_it(streams: Streams) -> None:
    listener = Listener("l1", streams.canon)
    streams.payloads.give(encode_hello(10), listener)
    board = Snapshot(seq=50, scores=[Standing(user="Alice", score=9)])

    streams.payloads.give(encode_snapshot("reset", board) + updates(51, 52), listener)

    assert listener.cursor == 52
    assert streams.violations() == []


@pytest.mark.parametrize("data", [b'{"user":"A","score":"oops"}', b'{"user":"\xff","score":1}'])
def test_an_update_that_is_none_of_the_contract_is_noticed_on_every_stream(
    streams: Streams, data: bytes
) -> None:
    payload = updates(11, 11) + b"id: 12\nevent: update\ndata: %b\n\n" % data
    for name in ("l1", "l2"):
        listener = Listener(name, streams.canon)
        streams.payloads.give(encode_hello(10), listener)
        streams.payloads.give(payload, listener)

    assert [text[:24] for text in streams.violations()] == ["change 12 is no update: "] * 2


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def server_that_says(reply: bytes) -> AsyncIterator[int]:
    """The port of a server that answers every request with the same bytes, and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def an_audience(streams: Streams, port: int) -> Audience:
    # With this seed it connects at once.
    return Audience(streams.canon, port, count=1, restless=0, rng=random.Random(90))


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (HEAD + b"3\r\n:\n\nid: 12", "chunk without end"),
        (HEAD + b"event: update\r\n", "invalid literal"),
        (b"id: 12\nevent: update\r\n\r\n", "not HTTP/1.1"),
    ],
    ids=["a chunk too short", "no chunk size", "no HTTP"],
)
async def test_bytes_that_are_no_stream_are_a_violation_of_the_sender(
    streams: Streams, reply: bytes, why: str
) -> None:
    async with server_that_says(reply) as port:
        audience = an_audience(streams, port)
        audience.start()
        await eventually(lambda: bool(streams.violations()))
        await audience.stop()

    assert why in streams.violations()[0]


async def test_a_stream_cut_off_in_mid_reply_is_no_violation(streams: Streams) -> None:
    async with server_that_says(HEAD + b"ff\r\nid: 12\nevent: upd") as port:
        audience = an_audience(streams, port)
        audience.start()
        await eventually(lambda: bool(streams.told("close")))
        await audience.stop()

    assert streams.violations() == []
