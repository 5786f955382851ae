"""The pages of the server on a board that a test plays: changes, cuts, silence, refusals.

Serves the very files and headers of `server.routes.pages`; the board speaks the HTTP
contract. Runs on a thread of its own, so that tests which drive a browser may block.
"""

import asyncio
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aiohttp import web

from scoreboard import contract, sse
from scoreboard.domain import Change, Standing
from server.routes.docs_page import page as docs_page
from server.routes.openapi import document
from server.routes.pages import read_pages


class BoardSite:
    """A board with users by name. All methods may be called from any thread."""

    def __init__(self) -> None:
        self.url = ""
        self.seq = 0
        self.top_reads = 0
        self.stream_requests: list[tuple[str | None, str]] = []
        self.refuse_streams_with: int | None = None
        self.muted = False
        self.stats: dict[str, Any] | None = None
        self.stats_token: str | None = None
        self.stream_token: str | None = None
        self.cases: list[dict[str, Any]] = []
        self.cases_status = 200
        self.decided: dict[str, str] = {}
        self.silent = False
        self.tickets_refused = 0
        self._tickets: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._users: dict[str, tuple[int, int]] = {}
        self._changes: list[Change] = []
        self._listeners: set[web.StreamResponse] = set()
        self._pages = read_pages()

    def put(self, scores: dict[str, int]) -> None:
        """Users that stand there without a change, as seeded ones do."""
        for user, score in scores.items():
            self._users[user] = (score, 0)

    def change(self, *changes: tuple[str, int]) -> None:
        """Set users' scores, one change each, in one write to all listeners."""
        self._run(self._change(changes))

    def cut(self) -> None:
        """End every stream as a killed server would."""
        self._run(self._cut())

    def top(self, limit: int = contract.TOP_DEFAULT) -> list[Standing]:
        ordered = sorted(self._users.items(), key=lambda item: (-item[1][0], item[1][1]))
        return [
            Standing(user=user, score=score, user_id=self._id(user))
            for user, (score, _) in ordered[:limit]
        ]

    def _id(self, user: str) -> int:
        return 1 + list(self._users).index(user)

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    async def _change(self, changes: tuple[tuple[str, int], ...]) -> None:
        made = []
        for user, score in changes:
            self.seq += 1
            self._users[user] = (score, self.seq)
            made.append(
                Change(
                    seq=self.seq,
                    user_id=self._id(user),
                    name=user,
                    score=score,
                    committed_us=time.time_ns() // 1000,
                )
            )
        self._changes += made
        if not self.muted:
            await self._write(sse.encode_updates(made))

    async def _write(self, block: bytes) -> None:
        for listener in list(self._listeners):
            # One that was cut is still listed until its handler notices.
            with suppress(ConnectionResetError):
                await listener.write(block)

    async def _cut(self) -> None:
        for listener in list(self._listeners):
            transport = listener._req.transport if listener._req else None
            if transport is not None:
                transport.abort()

    async def _serve_page(self, request: web.Request) -> web.Response:
        page = self._pages[request.path.removeprefix("/board")]
        return web.Response(
            body=page.body, headers={**page.headers, "Content-Type": page.content_type}
        )

    async def _serve_scores(self, request: web.Request) -> web.Response:
        self.top_reads += 1
        limit = int(request.query.get("limit", contract.TOP_DEFAULT))
        lines = [
            {"user": line.user, "score": line.score, "userId": line.user_id}
            for line in self.top(limit)
        ]
        return web.Response(
            text=json.dumps(lines),
            content_type="application/json",
            headers={contract.SEQ_HEADER: str(self.seq)},
        )

    async def _serve_ticket(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.stream_token}":
            self.tickets_refused += 1
            return web.Response(status=401)
        ticket = secrets.token_urlsafe(8)
        self._tickets.add(ticket)
        return web.json_response({"ticket": ticket, "expiresInS": 30})

    async def _serve_cases(self, request: web.Request) -> web.Response:
        if not request.headers.get("Authorization"):
            return web.json_response({"code": "unauthorized"}, status=401)
        if self.cases_status != 200:
            return web.json_response({"code": "refused"}, status=self.cases_status)
        wanted = request.query
        after = [each["submissionId"] for each in self.cases]
        first = 1 + after.index(wanted["after"]) if "after" in wanted else 0
        fit = [
            case
            for case in self.cases[first:]
            if wanted.get("user", str(case["userId"])) == str(case["userId"])
            and wanted.get("rule", case["reasons"][0]) in case["reasons"]
            and case["submissionId"] not in self.decided
        ]
        return web.json_response(fit[: int(wanted.get("limit", "200"))])

    async def _serve_holders(self, request: web.Request) -> web.Response:
        open_cases = [case for case in self.cases if case["submissionId"] not in self.decided]
        counts = Counter((case["userId"], case["user"]) for case in open_cases)
        holders = [
            {"userId": user_id, "user": user, "openCases": count, "oldestOpenedAtUs": 1}
            for (user_id, user), count in counts.most_common()
        ]
        first = int(request.query["offset"])
        return web.json_response(holders[first : first + int(request.query["limit"])])

    async def _decide_cases(self, request: web.Request) -> web.Response:
        results = []
        for each in (await request.json())["decisions"]:
            end = {"approve": "approved", "reject": "rejected"}[each["decision"]]
            self.decided[each["submissionId"]] = end
            results.append({"submissionId": each["submissionId"], "status": 200, "decision": end})
        return web.json_response(results)

    async def _serve_docs(self, _: web.Request) -> web.Response:
        body = docs_page(document())
        return web.Response(text=body, content_type="text/html")

    async def _serve_stats(self, request: web.Request) -> web.Response:
        if self.silent:
            await asyncio.sleep(3600)
        if self.stats_token and request.headers.get("Authorization") != (
            f"Bearer {self.stats_token}"
        ):
            return web.json_response({"code": "unauthorized"}, status=401)
        if self.stats is None:
            return web.json_response({"code": "unavailable"}, status=503)
        return web.json_response(self.stats)

    async def _serve_stream(self, request: web.Request) -> web.StreamResponse:
        last = request.headers.get(contract.LAST_EVENT_ID_HEADER)
        self.stream_requests.append((last, request.query_string))
        if self.silent:
            await asyncio.sleep(3600)
        if self.stream_token:
            ticket = request.query.get("ticket", "")
            if ticket not in self._tickets:
                return web.Response(status=401)
            self._tickets.remove(ticket)
        if self.refuse_streams_with:
            return web.Response(status=self.refuse_streams_with)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        cursor = self.seq if last is None else int(last)
        missed = [change for change in self._changes if change.seq > cursor]
        block = b"retry: 300\nid: %d\n\n" % cursor
        if last is None and "snapshot=1" in request.query_string:
            block += sse.encode_snapshot(
                sse.SNAPSHOT, sse.Snapshot(seq=self.seq, scores=self.top())
            )
        await response.write(block + sse.encode_updates(missed))
        self._listeners.add(response)
        try:
            while True:
                await asyncio.sleep(1)
                if not self.muted:
                    await response.write(sse.HEARTBEAT)
        except ConnectionResetError:
            return response
        finally:
            self._listeners.discard(response)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        for path in self._pages:
            app.router.add_get(path, self._serve_page)
        app.router.add_get(contract.SCORES_PATH, self._serve_scores)
        app.router.add_get(contract.STREAM_PATH, self._serve_stream)
        app.router.add_post("/scores/stream/ticket", self._serve_ticket)
        app.router.add_get("/admin/stats", self._serve_stats)
        app.router.add_get("/admin/reviews", self._serve_cases)
        app.router.add_get("/admin/reviews/users", self._serve_holders)
        app.router.add_post("/admin/reviews/decisions", self._decide_cases)
        app.router.add_get("/docs", self._serve_docs)
        # As through a proxy that adds a path of its own.
        app.router.add_get("/board/docs", self._serve_docs)
        app.router.add_get("/board/assets/{name}", self._serve_page)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner


@contextmanager
def board_site() -> Iterator[BoardSite]:
    """A running site on a free port."""
    site = BoardSite()
    thread = threading.Thread(target=site._loop.run_forever, daemon=True)
    thread.start()
    runner = site._run(site._start())
    try:
        yield site
    finally:
        site._run(runner.cleanup())
        site._loop.call_soon_threadsafe(site._loop.stop)
        thread.join(10)
        site._loop.close()
