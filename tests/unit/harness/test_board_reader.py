"""Reads of the board: open loop, conditional with the newest ETag, counted apart."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from harness.engines.standalone import drive
from harness.engines.submitter import SubmitterSettings
from harness.targets.requests import BoardReads
from harness.targets.target_file import describe
from harness.traffic.board_reader import BoardReader
from harness.traffic.hooks import board_reads

NS = 1_000_000_000


@contextmanager
def board(asked: list[str]) -> Iterator[tuple[str, int]]:
    """A board that changes after ten answers, and then is not there any more after twenty."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    address = ("127.0.0.1", 0)

    async def top(request: web.Request) -> web.Response:
        asked.append(request.headers.get("If-None-Match", ""))
        if len(asked) > 20:
            return web.Response(status=404)
        etag = '"a"' if len(asked) <= 10 else '"b"'
        if asked[-1] == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.json_response([], headers={"ETag": etag})

    async def serve() -> None:
        nonlocal address
        app = web.Application()
        app.router.add_get("/scores", top)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = runner.addresses[0][:2]
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def test_reads_carry_the_newest_etag_and_are_counted_apart() -> None:
    asked: list[str] = []
    with board(asked) as address:
        start = time.monotonic_ns()
        reader = BoardReader(
            SubmitterSettings(address=address, start_ns=start, zero_ns=start),
            iter([(n, n * NS // 100) for n in range(25)]),
            board_reads(None, (), f"{address[0]}:{address[1]}"),
        )
        assert drive([reader], lambda: reader.finished, timeout_s=10)
        [(_, counters, times)] = reader.take_figures()
        reader.close()

    assert counters["reads_intended"] == 25
    assert counters["reads_ok"] == 20
    assert counters["reads_failed"] == 5
    assert 10 <= counters["reads_not_modified"] <= 18
    assert set(asked) == {"", '"a"', '"b"'}
    assert list(times) == ["read"]
    assert reader.record_count == 0


def test_reads_of_a_described_server_are_its_own() -> None:
    text = 'url = "http://h"\n[scores]\npath = "/top"\nheaders = { X-U = "{name}" }\n'
    server = describe(text, Path(), {})
    reads = BoardReads(server, [{"user": 1, "name": "a"}, {"user": 2, "name": "b"}])

    assert reads.make(0, "") == b"GET /top HTTP/1.1\r\nHost: h\r\nX-U: a\r\n\r\n"
    assert b'X-U: b\r\nIf-None-Match: "x"\r\n' in reads.make(1, '"x"')
