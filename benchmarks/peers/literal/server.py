"""The specification word for word, in Python with aiohttp. State in memory; for tests only.

Not a part of Scoreboard and not tuned: what somebody writes who has the specification and an
afternoon. `README.md` has the variables it reads and what it prints.
"""

import asyncio
import contextlib
import heapq
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import jwt
from aiohttp import web

from benchmarks.peers.literal.lies import LIES

INCREMENT_MAX = 1_000_000
LATE_S = 2.0
MESSAGE = {"message": "Score update request submitted"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment says. `rate_limit` is per user and second; 0 is none."""

    secret: str
    port: int
    users: int
    rate_limit: int
    lies: tuple[str, ...]
    lie_every: int


def settings_from(environ: Mapping[str, str]) -> Settings:
    """Raises ValueError for a lie that no server knows, and without a secret."""
    lies = tuple(name for name in environ.get("LIE", "").split(",") if name)
    if unknown := set(lies) - LIES.keys():
        raise ValueError(f"unknown lies: {', '.join(sorted(unknown))}")
    if not (secret := environ.get("JWT_SECRET", "")):
        raise ValueError("JWT_SECRET is not set")
    return Settings(
        secret=secret,
        port=int(environ.get("PORT", "3000")),
        users=int(environ.get("USERS", "1000")),
        rate_limit=int(environ.get("RATE_LIMIT", "0")),
        lies=lies,
        lie_every=int(environ.get("LIE_EVERY", "20")),
    )


class Plan:
    """When to lie: the single lies take turns, one every `every` submissions."""

    def __init__(self, lies: tuple[str, ...], every: int) -> None:
        self._single = [name for name in lies if not LIES[name].standing]
        self._standing = {name for name in lies if LIES[name].standing}
        self._every = every
        self._count = 0
        self._turn = 0
        self._due = 0

    def stands(self, name: str) -> bool:
        """Whether a standing lie has begun."""
        return name in self._standing and self._count >= self._every

    def next_lie(self, *, has_gained: bool) -> str:
        """The lie for the next submission, mostly none. An update is lost only after another."""
        self._count += 1
        if self._single and self._count % self._every == 0:
            self._due += 1
        if not self._due:
            return ""
        lie = self._single[self._turn % len(self._single)]
        if lie == "lost-update" and not has_gained:
            return ""
        self._due -= 1
        self._turn += 1
        return lie


@dataclass
class User:
    """One row of the users table, the last increment, and events held back by a lie."""

    name: str
    score: int
    gained: int = 0
    held: list[bytes] = field(default_factory=list)


def event(name: str, score: int) -> bytes:
    """An event of the stream, as the specification shows it."""
    return b"event: update\ndata: %s\n\n" % json.dumps({"user": name, "score": score}).encode()


class Scoreboard:
    """Users, listeners and lies."""

    def __init__(self, settings: Settings) -> None:
        self._plan = Plan(settings.lies, settings.lie_every)
        self._users = {n: User(f"User{n:05d}", 0) for n in range(1, settings.users + 1)}
        self._users |= {1: User("Alice", 1500), 2: User("Bob", 1400)}
        self._frozen: list[dict[str, str | int]] | None = None
        self.listeners: list[asyncio.Queue[bytes]] = []

    def knows(self, user_id: int) -> bool:
        return user_id in self._users

    def submit(self, user_id: int, increment: int) -> bool:
        """Whether the submission is acknowledged; its workflow runs right after the answer."""
        user = self._users[user_id]
        lie = self._plan.next_lie(has_gained=user.gained != 0)
        if self._plan.stands("stale-board") and self._frozen is None:
            self._frozen = self._best()
        if lie:
            print(f"lie {lie} user={user.name} increment={increment}", file=sys.stderr, flush=True)
        asyncio.get_running_loop().call_soon(self._run, user_id, increment, lie)
        return lie != "refused-but-applied"

    def _run(self, user_id: int, increment: int, lie: str) -> None:
        another = self._users[user_id - 1 if user_id > 1 else 2]
        user = another if lie == "wrong-user" else self._users[user_id]
        if lie == "lose-accepted":
            return
        if lie == "apply-twice":
            self._run(user_id, increment, "")
        if lie == "lost-update":
            user.score -= user.gained
        user.gained = increment + (lie == "wrong-amount")
        user.score += user.gained
        if lie == "reordered":
            user.held.append(event(user.name, user.score))
        elif lie != "never-shown":
            self._notify(user, another, lie)

    def _notify(self, user: User, another: User, lie: str) -> None:
        told = event(
            another.name if lie == "shown-for-another" else user.name,
            user.score + (lie == "shown-wrong-score"),
        )
        if lie == "torn-event":
            told = told[: len(told) // 2] + b"\n\n"
        self._tell(told, lie)
        if lie == "shown-twice":
            self._tell(told)
        if lie == "invented-event":
            self._tell(event(another.name, another.score + 1))
        while user.held:
            self._tell(user.held.pop())

    def _tell(self, told: bytes, lie: str = "") -> None:
        if self._plan.stands("late-events"):
            asyncio.get_running_loop().call_later(LATE_S, self._send, told, lie)
        else:
            self._send(told, lie)

    def _send(self, told: bytes, lie: str) -> None:
        for place, queue in enumerate(self.listeners):
            times = 1
            if place == 0:
                misses = lie == "one-listener-misses" or self._plan.stands("silent-listener")
                times = 0 if misses else 1 + (lie == "one-listener-twice")
            for _ in range(times):
                queue.put_nowait(told)

    def _best(self) -> list[dict[str, str | int]]:
        best = heapq.nlargest(11, self._users.values(), key=lambda user: user.score)
        return [{"user": user.name, "score": user.score} for user in best]

    def top_ten(self) -> list[dict[str, str | int]]:
        """The answer to GET /scores."""
        rows = list(self._frozen or self._best())
        if self._plan.stands("board-leaves-out"):
            del rows[0]
        rows = rows[:10]
        if self._plan.stands("board-wrong-score"):
            rows[0] = {**rows[0], "score": int(rows[0]["score"]) + 1}
        if self._plan.stands("board-wrong-order"):
            rows[0], rows[-1] = rows[-1], rows[0]
        return rows


def error(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


class Api:
    """The three calls."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._board = Scoreboard(settings)
        self._used: Counter[int] = Counter()
        self._second = 0

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application()
        app.router.add_get("/scores", self._scores)
        app.router.add_post("/scores/update", self._update)
        app.router.add_get("/scores/stream", self._stream)
        return app

    async def _scores(self, _: web.Request) -> web.Response:
        return web.json_response(self._board.top_ten())

    async def _update(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(
                token, self._settings.secret, algorithms=["HS256"], options={"verify_aud": False}
            )
        except jwt.PyJWTError:
            return error(401, "invalid token")
        try:
            body = json.loads(await request.read())
            user_id, increment = body["userId"], body["increment"]
            if type(user_id) is not int or type(increment) is not int:
                raise TypeError
        except (ValueError, KeyError, TypeError):
            return error(400, "userId and increment must be integers")
        if claims.get("sub") != str(user_id):
            return error(403, "not your score")
        if not 0 < abs(increment) <= INCREMENT_MAX:
            return error(400, "increment out of range")
        if not self._board.knows(user_id):
            return error(404, "no such user")
        if self._exceeds_rate(user_id):
            return error(429, "too many updates")
        if not self._board.submit(user_id, increment):
            return error(422, "refused")
        return web.json_response(MESSAGE)

    def _exceeds_rate(self, user_id: int) -> bool:
        if not self._settings.rate_limit:
            return False
        if self._second != int(time.time()):
            self._second = int(time.time())
            self._used.clear()
        self._used[user_id] += 1
        return self._used[user_id] > self._settings.rate_limit

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._board.listeners.append(queue)
        try:
            await response.prepare(request)
            while True:
                told = await queue.get()
                while not queue.empty():
                    told += queue.get_nowait()
                await response.write(told)
        finally:
            self._board.listeners.remove(queue)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Prints the base URL on one line once it listens."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        Api(settings).application(),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.2,
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", settings.port, backlog=4096)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await stop.wait()
    with contextlib.suppress(asyncio.CancelledError):
        await runner.cleanup()


if __name__ == "__main__":
    try:
        asked_for = settings_from(os.environ)
    except ValueError as reason:
        print(reason, file=sys.stderr)
        sys.exit(2)
    asyncio.run(serve(asked_for))
