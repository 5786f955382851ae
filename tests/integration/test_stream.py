"""Event streams on real services: whatever Redis loses or a listener misses, each listener
sees every change once and in order, or is told by a reset."""

import asyncio
import gzip
import json
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from scoreboard import contract, sse
from scoreboard.domain import Outcome
from server.backends.mysql import LedgerReader
from server.settings import ServerSettings
from tests.support.api import Api, applied, running_api
from tests.support.eventually import eventually
from tests.support.ledgers import opened_ledger
from tests.support.pipeline import NewWorker, Pipeline, submission
from worker.database.ledger import Ledger
from worker.failpoints import Failpoints


class Site:
    """A worker, and APIs beside it."""

    def __init__(self, pipeline: Pipeline, settings: ServerSettings) -> None:
        self.pipeline, self.settings = pipeline, settings

    @asynccontextmanager
    async def api(self, **changes: Any) -> AsyncIterator[Api]:
        async with running_api(replace(self.settings, **changes)) as api:
            yield api

    async def change(self, count: int = 1) -> None:
        """So many changes, in one batch."""
        await self.pipeline.run(*(submission(1, 1) for _ in range(count)))


@pytest_asyncio.fixture
async def site(settings: ServerSettings, worker: NewWorker) -> AsyncIterator[Site]:
    async with worker() as pipeline:
        yield Site(pipeline, settings)


async def until(stream: Any, count: int) -> list[sse.Event]:
    events: list[sse.Event] = await asyncio.wait_for(stream.until(count), 40)
    return events


async def test_a_new_process_continues_listeners_of_the_one_before(site: Site) -> None:
    async with site.api() as api, api.listen() as stream:
        await site.change(5)
        await until(stream, 5)
    await site.change(5)

    async with site.api() as api, api.listen(3) as stream:
        await site.change(2)
        await until(stream, 9)

    assert stream.seqs == list(range(4, 13))


async def test_a_new_process_starts_where_mysql_stands_when_redis_is_behind(
    settings: ServerSettings, mysql_url: str, worker: NewWorker
) -> None:
    """What an earlier process showed from MySQL must not be taken back by the next one."""
    async with worker() as pipeline:
        await pipeline.run(*(submission(1, 1) for _ in range(5)))
    # No worker runs, so nobody brings these to Redis.
    async with opened_ledger(mysql_url) as bench:
        await bench.record(*(submission(2, 1) for _ in range(3)))

    async with running_api(settings) as api, api.listen(2) as stream:
        _, scores, headers = await api.get(contract.SCORES_PATH)
        await until(stream, 6)

    assert headers[contract.SEQ_HEADER] == "8"
    assert {line["user"]: line["score"] for line in scores}["Bob"] == 1403
    assert stream.seqs == [3, 4, 5, 6, 7, 8]


async def test_two_processes_tell_the_same(site: Site) -> None:
    async with (
        site.api() as one,
        site.api() as other,
        one.listen() as first,
        other.listen() as second,
    ):
        for _ in range(5):
            await site.change(3)
        await until(first, 15)
        await until(second, 15)

    assert first.seqs == second.seqs == list(range(1, 16))
    assert applied(first.events) == applied(second.events)


async def test_history_beyond_the_ring_is_a_reset_with_the_board_at_that_seq(site: Site) -> None:
    await site.change(30)

    async with site.api(history_changes=10) as api, api.listen(3) as stream:
        await site.change()
        events = await until(stream, 2)

    assert [(event.event, event.id) for event in events] == [("reset", "30"), ("update", "31")]
    assert json.loads(events[0].data) == {
        "seq": 30,
        "scores": [
            {"user": "Alice", "score": 1530, "userId": 1},
            {"user": "Bob", "score": 1400, "userId": 2},
        ],
    }


async def test_a_gap_in_the_stream_is_filled_from_the_ledger(site: Site) -> None:
    async with site.api() as api, api.listen() as stream:
        await site.change(2)
        await until(stream, 2)
        await _commit_without_telling(site, 3)
        await site.change(1)
        events = await until(stream, 6)

    assert stream.seqs == [1, 2, 3, 4, 5, 6]
    assert [data["score"] for data in applied(events)] == list(range(1501, 1507))


async def _commit_without_telling(site: Site, count: int) -> None:
    """Changes that reach the ledger while the stream's cursor pretends to have them."""
    ledger = Ledger(site.pipeline.pool, Failpoints(""))
    recorded = await ledger.record([(submission(1, 1), Outcome.APPLIED) for _ in range(count)])
    await site.pipeline.redis.hset(
        contract.META_KEY,
        mapping={
            "seq": recorded.last_seq,
            "tail": recorded.last_seq,
            "tip": contract.change_identity(recorded.changes[-1]),
        },
    )


async def test_a_malformed_entry_is_passed_over_with_the_ledger_s_help(site: Site) -> None:
    async with site.api() as api, api.listen() as stream:
        await site.change(2)
        await until(stream, 2)
        await site.pipeline.redis.xadd(
            contract.STREAM_KEY, {contract.STREAM_FIELD: b"\xc1nonsense"}, id="2-1"
        )
        await site.change(2)
        await until(stream, 4)

    assert stream.seqs == [1, 2, 3, 4]


async def test_listeners_notice_nothing_when_redis_is_emptied(site: Site) -> None:
    async with site.api() as api, api.listen() as stream:
        for round_number in range(1, 5):
            await site.change(3)
            await site.pipeline.redis.flushdb()
            await site.change(3)
            await until(stream, round_number * 6)
        scores = await api.scores()

    assert stream.seqs == list(range(1, 25))
    assert scores[0] == {"user": "Alice", "score": 1524, "userId": 1}


async def test_an_emptied_redis_does_not_stop_reads(site: Site) -> None:
    async with site.api() as api:
        await site.change(3)

        async def board_is(score: int) -> bool:
            assert (await api.scores())[0]["score"] == score
            return True

        await eventually(lambda: board_is(1503))
        for _ in range(20):
            await site.pipeline.redis.flushdb()
            assert (await api.scores())[0]["score"] == 1503


async def test_a_replaced_ledger_resets_every_listener(site: Site) -> None:
    async with site.api() as api, api.listen() as stream:
        await site.change(3)
        await until(stream, 3)
        await _replace_ledger(site)
        await until(stream, 4)
        await site.change()
        events = await until(stream, 5)

    start = contract.next_start(3)
    assert [(event.event, int(event.id)) for event in events[3:]] == [
        ("reset", start),
        ("update", start + 1),
    ]
    assert json.loads(events[3].data)["scores"][0]["score"] == 7
    assert json.loads(events[4].data) == {"user": "Alice", "score": 8, "userId": 1}


async def _replace_ledger(site: Site) -> None:
    async with site.pipeline.pool.connection() as connection, connection.cursor() as cursor:
        await cursor.execute("DELETE FROM ledger")
        await cursor.execute("UPDATE users SET seq = 0, score = 7")
        await cursor.execute("UPDATE boards SET seq = 0, incarnation = UUID()")
        await connection.commit()


async def test_streams_outlive_the_deadlines_of_requests(site: Site) -> None:
    async with (
        site.api(request_timeout_s=0.3, keep_alive_s=0.3, heartbeat_s=0.2) as api,
        api.listen() as stream,
    ):
        # Five times the limits: the time itself is what is tested.
        await asyncio.sleep(5 * 0.3)
        await site.change()
        events = await until(stream, 1)

    assert stream.seqs == [1]
    # Two comment lines at least: what kept the silence short.
    assert events[0].comments.count("") >= 2


async def test_a_listener_that_stops_reading_harms_nobody_and_is_then_continued(
    site: Site,
) -> None:
    async with site.api(history_changes=100_000) as api, api.listen() as quick:
        stalled = socket.create_connection(("127.0.0.1", api.port))
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(b"GET /scores/stream HTTP/1.1\r\nHost: a\r\n\r\n")
        stalled.setblocking(False)
        total = 0
        async with asyncio.timeout(60):
            while total < 6000:
                await site.change(500)
                total += 500
            await until(quick, total)

        reader, writer = await asyncio.open_connection(sock=stalled)
        await reader.readuntil(b"\r\n\r\n")
        decoder = sse.Decoder()
        seqs: list[int] = []
        async with asyncio.timeout(60):
            while not seqs or seqs[-1] < total:
                size = int(await reader.readline(), 16)
                chunk = await reader.readexactly(size + 2)
                seqs += [int(event.id) for event in decoder.feed(chunk[:-2])]
        writer.close()

    assert quick.seqs == list(range(1, total + 1))
    assert seqs == list(range(1, total + 1))


async def test_a_listener_far_behind_is_reset_when_it_reads_again(site: Site) -> None:
    async with site.api(history_changes=600) as api, api.listen() as quick:
        stalled = socket.create_connection(("127.0.0.1", api.port))
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(b"GET /scores/stream HTTP/1.1\r\nHost: a\r\n\r\n")
        stalled.setblocking(False)
        async with asyncio.timeout(60):
            for _ in range(12):
                await site.change(500)
            await until(quick, 6000)

        reader, writer = await asyncio.open_connection(sock=stalled)
        await reader.readuntil(b"\r\n\r\n")
        decoder = sse.Decoder()
        events: list[sse.Event] = []
        async with asyncio.timeout(60):
            while not events or events[-1].event != sse.RESET:
                size = int(await reader.readline(), 16)
                chunk = await reader.readexactly(size + 2)
                events += decoder.feed(chunk[:-2])
        writer.close()

    seqs = [int(event.id) for event in events]
    assert seqs[:-1] == list(range(1, len(seqs)))
    assert (seqs[-1], json.loads(events[-1].data)["scores"][0]["score"]) == (6000, 7500)


async def test_too_many_listeners_are_told_to_come_back(site: Site) -> None:
    async with site.api(listeners_max=3) as api, AsyncExitStack() as opened:
        for _ in range(3):
            await opened.enter_async_context(api.listen())

        status, body, headers = await api.get(contract.STREAM_PATH)
        await opened.aclose()

        async def there_is_room() -> bool:
            async with api.listen():
                return True

        assert (status, body["code"]) == (503, "overloaded")
        assert headers["Retry-After"]
        await eventually(there_is_room)


async def test_listeners_that_vanish_are_forgotten(site: Site) -> None:
    async with site.api() as api:
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            writer.write(b"GET /scores/stream HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
        async with api.listen() as stream:
            for _ in range(5):
                await site.change()
            await until(stream, 5)

    assert stream.seqs == [1, 2, 3, 4, 5]


async def test_stream_headers_stop_proxies_from_caching_or_buffering(site: Site) -> None:
    async with (
        site.api() as api,
        aiohttp.ClientSession() as http,
        http.get(api.url + contract.STREAM_PATH) as response,
    ):
        headers = response.headers

    assert headers["Content-Type"] == "text/event-stream"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize(
    ("accepted", "offered", "coding"),
    [
        ("gzip, deflate, br, zstd", True, "gzip"),
        ("identity", True, None),
        ("gzip", False, None),
    ],
)
async def test_stream_is_one_gzip_file_for_clients_that_accept_gzip(
    site: Site, accepted: str, offered: bool, coding: str | None
) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as http, AsyncExitStack() as process:
        api = await process.enter_async_context(site.api(stream_gzip=offered))
        response = await http.get(
            api.url + contract.STREAM_PATH, headers={"Accept-Encoding": accepted}
        )
        await site.change(200)
        await site.change(200)
        raw = b""
        seqs: list[str] = []
        decoder, inflate = sse.Decoder(), zlib.decompressobj(16 + zlib.MAX_WBITS)
        while len(seqs) < 400:
            data = await asyncio.wait_for(response.content.readany(), 40)
            raw += data
            # Each event can be read when it comes.
            events = decoder.feed(inflate.decompress(data) if coding else data)
            seqs += [event.id for event in events]
        rest = asyncio.create_task(response.content.read())
        await process.aclose()
        raw += await asyncio.wait_for(rest, 40)

    body = gzip.decompress(raw) if coding else raw
    assert seqs == [str(seq) for seq in range(1, 401)]
    assert [event.id for event in sse.Decoder().feed(body)] == seqs
    assert response.headers.get("Content-Encoding") == coding
    assert response.headers["Vary"] == "accept-encoding"
    assert (len(raw) < len(body) / 2) is bool(coding)


async def test_user_deleted_by_hand_leaves_no_gap_in_ledger_reads(site: Site) -> None:
    await site.change(3)
    async with site.pipeline.pool.connection() as connection, connection.cursor() as cursor:
        await cursor.execute("DELETE FROM users WHERE id = 1")
        await connection.commit()
    reader = LedgerReader(site.settings.mysql)

    try:
        changes = await reader.changes_after(0, 10)
    finally:
        await reader.close()

    told = [(change.seq, change.name, change.removed) for change in changes]
    assert told == [(seq, "removed-1", True) for seq in (1, 2, 3)]
