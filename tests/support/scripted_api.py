"""A scoreboard whose faults are scripted: speaks the HTTP contract, and breaks it on command.

For tests of clients. Not a model of the real server's speed or storage: its
board is a list, and an effect happens once per Idempotency-Key as the contract says.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from scoreboard import contract, sse
from scoreboard.domain import Change, Standing

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class ScriptedApi:
    """What was asked, what took effect, and the answers still to give.

    `answers` is consumed by POSTs and `/scores`, `streams` by stream requests;
    when they are used up, requests are answered as the contract says.
    """

    url: str = ""
    keys: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    effects: dict[str, dict[str, int]] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    streams: list[Answer] = field(default_factory=list)
    last_event_ids: list[str | None] = field(default_factory=list)
    floors: list[str | None] = field(default_factory=list)
    stream_queries: list[str] = field(default_factory=list)
    scores: list[Standing] = field(default_factory=list)
    seq: int = 0

    async def submit(self, request: web.Request) -> web.StreamResponse:
        key = request.headers[contract.IDEMPOTENCY_HEADER]
        self.keys.append(key)
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.answers:
            return await self.answers.pop(0)(request)
        return await self.accept(request)

    async def accept(self, request: web.Request) -> web.Response:
        """Take effect once, answer 202."""
        key = request.headers[contract.IDEMPOTENCY_HEADER]
        self.effects.setdefault(key, await request.json())
        return web.json_response(
            {"message": contract.ACCEPTED_MESSAGE, "submissionId": f"id-of-{key}"}, status=202
        )

    async def accept_and_hang_up(self, request: web.Request) -> web.Response:
        """Take effect, then lose the answer."""
        await self.accept(request)
        return hang_up(request)

    async def top(self, request: web.Request) -> web.StreamResponse:
        self.floors.append(request.headers.get(contract.SEQ_HEADER))
        if self.answers:
            return await self.answers.pop(0)(request)
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        return web.Response(
            body=json.dumps(
                [{"user": s.user, "score": s.score} for s in self.scores[offset : offset + limit]]
            ),
            content_type="application/json",
            headers={contract.SEQ_HEADER: str(self.seq)},
        )

    async def outcome(self, request: web.Request) -> web.StreamResponse:
        return await self.answers.pop(0)(request)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.last_event_ids.append(request.headers.get(contract.LAST_EVENT_ID_HEADER))
        self.stream_queries.append(request.query_string)
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.streams:
            return await self.streams.pop(0)(request)
        return web.Response(status=204)


@asynccontextmanager
async def scripted_api() -> AsyncIterator[ScriptedApi]:
    """A running server on a free port."""
    api = ScriptedApi()
    app = web.Application()
    app.router.add_post(contract.UPDATE_PATH, api.submit)
    app.router.add_get(contract.STREAM_PATH, api.stream)
    app.router.add_get(contract.SCORES_PATH, api.top)
    app.router.add_get(contract.OUTCOMES_PATH + "/{id}", api.outcome)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api
    finally:
        await runner.cleanup()


def hang_up(request: web.Request) -> web.Response:
    """Reset the connection instead of answering."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def refuse(status: int, code: str, **headers: str) -> Answer:
    """A problem document; header names are given with underscores."""

    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(
            body=json.dumps({"code": code, "title": f"Title of {code}", "detail": "because"}),
            status=status,
            content_type="application/problem+json",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    return answer


def stream(*chunks: bytes, then: str = "end") -> Answer:
    """A stream of these chunks that then ends cleanly ("end"), is reset ("reset") or stays."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if then == "reset":
            # One turn of the loop, so that what was written leaves before the reset.
            await asyncio.sleep(0.05)
            hang_up(request)
        elif then == "stay":
            await asyncio.Event().wait()
        return response

    return answer


def hello(seq: int, retry_ms: int = 1) -> bytes:
    """The first block of a stream, with a reconnect time that tests can wait for."""
    return b"retry: %d\nid: %d\n\n" % (retry_ms, seq)


def updates(*seqs: int) -> bytes:
    """Updates with these numbers; the score repeats the number."""
    return sse.encode_updates(
        Change(seq=seq, user_id=1, name="Alice", score=seq, committed_us=1000 + seq) for seq in seqs
    )


def snapshot(event: str, seq: int, *scores: Standing) -> bytes:
    """A reset or snapshot block."""
    return sse.encode_snapshot(event, sse.Snapshot(seq=seq, scores=scores))


def standing(user: str, score: int) -> Standing:
    """A line of the board."""
    return Standing(user=user, score=score)
