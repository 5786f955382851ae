"""Scoreboards of other makes, for tests of target files: their own paths, names, tokens and TLS.

Each dialect is honest and keeps its state in memory. It runs on a thread of the test's process, and
notes what it was asked in `seen`.
"""

import asyncio
import hashlib
import json
import ssl
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import jwt
from aiohttp import web

EVENT_EVERY_S = 0.005


class Refused(Exception):
    """The request has no right, or is wrong; the argument is the status."""


class Dialect(ABC):
    """One make of scoreboard: a board, its listeners, and how it speaks."""

    base = ""
    submit_route = ("POST", "/scores/update")
    top_path = "/scores"
    stream_path = "/scores/stream"
    event = "update"

    def __init__(self) -> None:
        self.scores: dict[str, int] = {}
        self.seen: Counter[str] = Counter()
        self._listeners: set[asyncio.Queue[bytes]] = set()

    @abstractmethod
    def allow(self, request: web.Request, what: str) -> None:
        """Raise Refused for a request without a right to submit, read (top) or listen (stream)."""

    @abstractmethod
    async def read(self, request: web.Request) -> tuple[str, int]:
        """User and points of a submission. Raises Refused."""

    @abstractmethod
    def accepted(self) -> web.Response:
        """The answer to a submission."""

    @abstractmethod
    def row(self, user: str, score: int) -> object:
        """One row of the board."""

    def data(self, user: str, score: int) -> str:
        """The data of an event."""
        return json.dumps(self.row(user, score))

    def board(self, rows: list[object]) -> object:
        """The board around its rows."""
        return rows

    async def submit(self, request: web.Request) -> web.Response:
        try:
            self.allow(request, "submit")
            user, points = await self.read(request)
        except Refused as refused:
            status = int(str(refused))
            self.seen[f"submit {status}"] += 1
            return web.json_response({"error": "refused"}, status=status)
        self.scores[user] = self.scores.get(user, 0) + points
        data = self.data(user, self.scores[user])
        for listener in self._listeners:
            listener.put_nowait(f"event: {self.event}\ndata: {data}\n\n".encode())
        self.seen["submit"] += 1
        return self.accepted()

    async def top(self, request: web.Request) -> web.Response:
        try:
            self.allow(request, "top")
        except Refused as refused:
            return web.json_response({"error": "refused"}, status=int(str(refused)))
        self.seen["top"] += 1
        best = sorted(self.scores.items(), key=lambda pair: -pair[1])[:10]
        return web.json_response(self.board([self.row(*pair) for pair in best]))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        try:
            self.allow(request, "stream")
        except Refused as refused:
            return web.json_response({"error": "refused"}, status=int(str(refused)))
        self.seen["stream"] += 1
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": hello\n\n")
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                parts = [await queue.get()]
                await asyncio.sleep(EVENT_EVERY_S)
                while not queue.empty():
                    parts.append(queue.get_nowait())
                await response.write(b"".join(parts))
        except (ConnectionError, asyncio.CancelledError):
            return response
        finally:
            self._listeners.discard(queue)


class CookieGames(Dialect):
    """Other paths and names; a session cookie for everything; answers wrapped in `data`."""

    submit_route = ("PUT", "/api/players/{player}/points")
    top_path = "/api/leaderboard"
    stream_path = "/api/leaderboard/live"
    event = "score-changed"

    def allow(self, request: web.Request, what: str) -> None:
        if what != "top" and not request.cookies.get("session", "").startswith("s-"):
            raise Refused(401)

    async def read(self, request: web.Request) -> tuple[str, int]:
        sent = await request.json()
        if request.headers.get("X-Tenant") != "arcade" or type(sent["points"]) is not int:
            raise Refused(422)
        player = request.match_info["player"]
        if request.cookies["session"] != f"s-{player}":
            raise Refused(403)
        return f"Player {player}", sent["points"]

    def accepted(self) -> web.Response:
        return web.json_response({"ok": True, "data": {"id": str(self.seen["submit"])}}, status=201)

    def row(self, user: str, score: int) -> object:
        return {"player": {"nick": user}, "total": score}

    def board(self, rows: list[object]) -> object:
        return {"data": {"rows": rows}}


KEYS = {"u-17": "Ann", "u-23": "Bo", "u-42": "Cy"}


class KeyedScores(Dialect):
    """An API key, forms, users of its own by UUID, rows as arrays, a key in the stream's query."""

    submit_route = ("POST", "/v1/add")
    top_path = "/v1/top"
    stream_path = "/v1/events"
    event = "message"

    def allow(self, request: web.Request, what: str) -> None:
        key = request.query.get("key") if what == "stream" else request.headers.get("X-Api-Key")
        if key != "k-123":
            raise Refused(403)

    async def read(self, request: web.Request) -> tuple[str, int]:
        sent = await request.post()
        user = str(sent.get("user"))
        if user not in KEYS or request.headers.get("X-Pin") != f"pin-{user}":
            raise Refused(400)
        return KEYS[user], int(str(sent["add"]))

    def accepted(self) -> web.Response:
        return web.Response(status=204)

    def row(self, user: str, score: int) -> object:
        return [user, score]


class SignedScores(Dialect):
    """The specification below a base path, with tokens that an RSA key signs."""

    base = "/games/chess"

    def __init__(self, public_key: str) -> None:
        super().__init__()
        self._public_key = public_key

    def allow(self, request: web.Request, what: str) -> None:
        if what != "top":
            self._user_of(request)

    def _user_of(self, request: web.Request) -> int:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(
                token, self._public_key, ["RS256"], audience="games", issuer="accounts"
            )
            return int(claims["sub"])
        except (jwt.PyJWTError, ValueError):
            raise Refused(401) from None

    async def read(self, request: web.Request) -> tuple[str, int]:
        sent = await request.json()
        if sent["userId"] != self._user_of(request):
            raise Refused(403)
        return f"user{sent['userId']}", sent["increment"]

    def accepted(self) -> web.Response:
        return web.json_response({"message": "Score update request submitted"})

    def row(self, user: str, score: int) -> object:
        return {"user": user, "score": score}


class PlainScores(Dialect):
    """The specification, and nobody is asked for a token."""

    def allow(self, request: web.Request, what: str) -> None:
        """Nobody is refused here."""

    async def read(self, request: web.Request) -> tuple[str, int]:
        sent = await request.json()
        return f"user{sent['userId']}", sent["increment"]

    def accepted(self) -> web.Response:
        return web.json_response({"message": "Score update request submitted"})

    def row(self, user: str, score: int) -> object:
        return {"user": user, "score": score}


class SlowScores(PlainScores):
    """The same with every answer late."""

    async def submit(self, request: web.Request) -> web.Response:
        answer = await super().submit(request)
        await asyncio.sleep(0.03)
        return answer


class LineScores(Dialect):
    """Nothing but lines: `user;points` with a digest, `+` for yes, events that are no JSON."""

    submit_route = ("POST", "/add")
    stream_path = "/live"

    def allow(self, request: web.Request, what: str) -> None:
        """Nobody is refused here."""

    async def read(self, request: web.Request) -> tuple[str, int]:
        sent = await request.read()
        if request.headers.get("X-Digest") != hashlib.sha256(sent + b"pepper").hexdigest():
            raise Refused(400)
        user, points = sent.decode().split(";")
        return f"user{user}", int(points)

    def accepted(self) -> web.Response:
        return web.Response(text="+taken")

    def row(self, user: str, score: int) -> object:
        return {"user": user, "score": score}

    def data(self, user: str, score: int) -> str:
        return f"{user}={score}"


@contextmanager
def serving(dialect: Dialect, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address of a server that speaks this dialect, without its base path."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    port = 0
    stop = asyncio.Event()

    async def serve() -> None:
        nonlocal port
        app = web.Application()
        method, path = dialect.submit_route
        app.router.add_route(method, dialect.base + path, dialect.submit)
        app.router.add_get(dialect.base + dialect.top_path, dialect.top)
        app.router.add_get(dialect.base + dialect.stream_path, dialect.stream)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        ready.set()
        await stop.wait()
        await runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
