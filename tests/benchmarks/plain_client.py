"""A client that knows the specification and nothing else, and the oddities it notices.

Its increments are powers of two for users without points, so that each gain names its submission.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from benchmarks.peers.literal.start import Literal
from scoreboard.tokens import mint
from tests.support.eventually import eventually

USERS = (3, 4, 5)
INCREMENTS = tuple(2**power for power in range(4, 20))


def name_of(user_id: int) -> str:
    return f"User{user_id:05d}"


def headers(server: Literal, user_id: int, secret: str = "") -> dict[str, str]:
    """A token as the harness signs it."""
    key = (secret or server.secret).encode()
    token = mint(key, subject=str(user_id), now_s=int(time.time()), ttl_s=600)
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Seen:
    """All that a client sees: answers by increment, each listener's data lines, the board."""

    users: dict[int, int] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    streams: list[list[str]] = field(default_factory=list)
    last_event_s: float = 0.0
    board: list[dict[str, Any]] = field(default_factory=list)

    @property
    def accepted(self) -> set[int]:
        return {increment for increment, status in self.statuses.items() if status == 200}

    def events(self, listener: int) -> list[tuple[str, int]]:
        """User and score of each whole event."""
        whole = [text for text in self.streams[listener] if text.rstrip().endswith("}")]
        return [(event["user"], event["score"]) for event in map(json.loads, whole)]

    def gains(self, listener: int = 1) -> list[tuple[str, int]]:
        """User and rise of the score, event by event."""
        scores: dict[str, int] = {"Alice": 1500, "Bob": 1400}
        found = []
        for user, score in self.events(listener):
            found.append((user, score - scores.get(user, 0)))
            scores[user] = score
        return found

    def shown(self, increment: int) -> int:
        """How often an increment was shown for the user who submitted it."""
        return self.gains().count((name_of(self.users[increment]), increment))

    @property
    def board_is_right(self) -> bool:
        """Whether the board is the one that the accepted submissions add up to."""
        return self.board == self.right_board()

    def right_board(self) -> list[dict[str, Any]]:
        scores = {"Alice": 1500, "Bob": 1400}
        for increment in self.accepted:
            name = name_of(self.users[increment])
            scores[name] = scores.get(name, 0) + increment
        best = sorted(scores.items(), key=lambda item: -item[1])
        return [{"user": user, "score": score} for user, score in best]


def _one_listener(seen: Seen, more: int) -> bool:
    return len(seen.streams[0]) - len(seen.streams[1]) == more and len(seen.streams[1]) == 16


OBSERVED: dict[str, Callable[[Seen], bool]] = {
    "lose-accepted": lambda seen: (
        any(seen.shown(n) == 0 for n in seen.accepted)
        and sum(row["score"] for row in seen.board)
        < sum(row["score"] for row in seen.right_board())
    ),
    "apply-twice": lambda seen: any(seen.shown(n) == 2 for n in seen.accepted),
    "wrong-user": lambda seen: (
        any(gain in seen.users and user != name_of(seen.users[gain]) for user, gain in seen.gains())
        and not seen.board_is_right
    ),
    "wrong-amount": lambda seen: (
        any(gain - 1 in seen.users for _, gain in seen.gains()) and not seen.board_is_right
    ),
    "lost-update": lambda seen: any(
        gain not in seen.users and gain + previous in seen.users
        for user, _ in seen.gains()
        for previous, gain in _pairs([gain for name, gain in seen.gains() if name == user])
    ),
    "refused-but-applied": lambda seen: any(
        seen.shown(n) for n, status in seen.statuses.items() if status == 422
    ),
    "never-shown": lambda seen: (
        any(seen.shown(n) == 0 for n in seen.accepted) and seen.board_is_right
    ),
    "shown-twice": lambda seen: all(
        any(gain == 0 for _, gain in seen.gains(listener)) for listener in (0, 1)
    ),
    "shown-for-another": lambda seen: (
        any(gain not in seen.users for _, gain in seen.gains())
        and len(seen.streams[1]) == 16
        and seen.board_is_right
    ),
    "shown-wrong-score": lambda seen: (
        any(gain - 1 in seen.users for _, gain in seen.gains()) and seen.board_is_right
    ),
    "invented-event": lambda seen: (
        any(gain == 1 for _, gain in seen.gains())
        and len(seen.streams[1]) > 16
        and seen.board_is_right
    ),
    "reordered": lambda seen: any(gain < 0 for _, gain in seen.gains()) and seen.board_is_right,
    "torn-event": lambda seen: any(not text.rstrip().endswith("}") for text in seen.streams[1]),
    "one-listener-misses": lambda seen: _one_listener(seen, -3),
    "one-listener-twice": lambda seen: _one_listener(seen, 3),
    # The fifth submission begins the lie; its own event may be told before or after.
    "silent-listener": lambda seen: len(seen.streams[1]) == 16 and len(seen.streams[0]) <= 5,
    "late-events": lambda seen: len(seen.streams[1]) == 16 and seen.last_event_s > 1.9,
    "stale-board": lambda seen: len(seen.streams[1]) == 16 and not seen.board_is_right,
    "board-wrong-score": lambda seen: seen.board[0]["score"] - 1 == seen.right_board()[0]["score"],
    "board-wrong-order": lambda seen: seen.board[0]["score"] < seen.board[-1]["score"],
    "board-leaves-out": lambda seen: (
        seen.right_board()[0] not in seen.board and seen.right_board()[1] == seen.board[0]
    ),
}
"""What a client notices of each lie, with one lie in five submissions."""


def _pairs(gains: list[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(gains))


class Client:
    """Two listeners, and a submission every few milliseconds."""

    def __init__(self, server: Literal) -> None:
        self.server = server
        self.seen = Seen(streams=[[], []])
        self._session = aiohttp.ClientSession(base_url=server.url)
        self._reading: list[asyncio.Task[None]] = []
        self._first_s = 0.0

    async def __aenter__(self) -> "Client":
        for lines in self.seen.streams:
            response = await self._session.get("/scores/stream")
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            self._reading.append(asyncio.create_task(self._read(response, lines)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        await self._session.close()

    async def _read(self, response: aiohttp.ClientResponse, lines: list[str]) -> None:
        named = b""
        async with response:
            async for line in response.content:
                if line.startswith(b"event:"):
                    named = line
                if line.startswith(b"data:"):
                    assert named == b"event: update\n"
                    self.seen.last_event_s = time.monotonic() - self._first_s
                    lines.append(line[5:].strip().decode())
                assert not line.startswith(b"id:")

    async def post(
        self, user_id: int, body: object, *, secret: str = "", token: bool = True
    ) -> tuple[int, Any]:
        """Status and content of one submission."""
        said = headers(self.server, user_id, secret) if token else {}
        async with self._session.post("/scores/update", json=body, headers=said) as answer:
            return answer.status, await answer.json()

    async def scores(self) -> list[dict[str, Any]]:
        """The answer to GET /scores."""
        async with self._session.get("/scores") as answer:
            assert answer.status == 200
            found: list[dict[str, Any]] = await answer.json()
            return found

    async def submit_all(self) -> None:
        """Every increment once, to three users in turn."""
        self._first_s = time.monotonic()
        for number, increment in enumerate(INCREMENTS):
            user_id = USERS[number % len(USERS)]
            body = {"userId": user_id, "increment": increment}
            self.seen.users[increment] = user_id
            self.seen.statuses[increment], _ = await self.post(user_id, body)

    async def look(self) -> Seen:
        """What is seen by now, the board as far as it can be compared."""
        board = await self.scores()
        self.seen.board = [row for row in board if row["score"]]
        return self.seen

    async def board_comes_right(self) -> bool:
        """For whoever waits: one submission's event may tell another one's change before that is on
        the board."""
        return (await self.look()).board_is_right


async def honest(server: Literal) -> None:
    """Assert that every submission is shown once, to both listeners, and nothing else."""
    async with Client(server) as client:
        board = await client.scores()
        assert board[:2] == [{"user": "Alice", "score": 1500}, {"user": "Bob", "score": 1400}]
        assert [row["score"] for row in board[2:]] == [0] * 8

        await client.submit_all()
        seen = client.seen
        await eventually(lambda: [len(lines) for lines in seen.streams] == [16, 16])

        await eventually(client.board_comes_right)
        assert set(seen.statuses.values()) == {200}
        assert seen.streams[0] == seen.streams[1]
        assert sorted(gain for _, gain in seen.gains()) == list(INCREMENTS)
        assert [lie for lie, observed in OBSERVED.items() if observed(seen)] == []
        assert server.lies() == []


async def lying(server: Literal, lie: str) -> None:
    """Assert that a client notices the lie of this server."""
    async with Client(server) as client:
        await client.submit_all()

        async def noticed() -> bool:
            return OBSERVED[lie](await client.look())

        await eventually(noticed)


async def answering(server: Literal) -> None:
    """Assert that submissions get the specification's answers."""
    async with Client(server) as client:
        accepted = (200, {"message": "Score update request submitted"})
        good = {"userId": 3, "increment": 10}

        assert await client.post(3, good) == accepted
        assert (await client.post(3, good, token=False))[0] == 401
        assert (await client.post(3, good, secret="x" * 64))[0] == 401
        assert (await client.post(4, good))[0] == 403
        assert (await client.post(3, {}))[0] == 400
        assert (await client.post(3, [1]))[0] == 400
        assert (await client.post(3, {"userId": 3, "increment": 0}))[0] == 400
        # A workflow on the whole stack finds out only after the answer.
        unknown = (await client.post(13, {"userId": 13, "increment": 1}))[0]
        assert unknown == (200 if server.language == "fiber" else 404)
        assert await client.post(3, {"userId": 3, "increment": -4}) == accepted

        await eventually(lambda: len(client.seen.streams[0]) == 2)
        assert sorted(gain for _, gain in client.seen.gains(0)) == [-4, 10]


async def limiting(server: Literal) -> None:
    """Assert that what exceeds the rate limit is refused and not applied."""
    async with Client(server) as client:
        await client.submit_all()

        assert set(client.seen.statuses.values()) == {200, 429}
        await eventually(lambda: len(client.seen.streams[0]) == len(client.seen.accepted))
