"""Clients of a chaos run: they submit, retry lost answers, read the board, and attack.

Every request is in the history before its first byte is sent. A submission without an answer is
retried with the same key and body until an answer comes or patience ends; then its outcome stays
unknown. Not a load generator: a slow server slows these clients (a closed loop), and they measure
no latency. `harness.engines.submitter` is the open loop.
"""

import asyncio
import contextlib
import hashlib
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.chaos.wire import BROKEN, Line, NothingSent, Reply, get
from harness.evidence.history import (
    HistoryWriter,
    Outcome,
    Score,
    digest_of,
    outcome_of_error,
    outcome_of_status,
)
from harness.net.http_wire import SUBMISSION_BODY, submission_head
from scoreboard import contract, ids, tokens

PATIENCE_S = 90.0
"""How long a submission is retried. Longer than any fault and its recovery."""
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 1.0
GIVE_UP_SHARE = 0.01
"""Share of submissions that are never retried, so that some outcomes stay unknown."""
DUPLICATED_SHARE = 0.005
ATTACK_SHARE = 0.01
NEGATIVE_SHARE = 0.25
TOKEN_TTL_S = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Valid tokens for each user, and invalid ones for attacks."""

    secret: bytes
    now_s: int

    def user(self, user: int) -> str:
        """A token that may update this user only."""
        return tokens.mint(self.secret, subject=str(user), now_s=self.now_s, ttl_s=TOKEN_TTL_S)

    def forged(self, user: int) -> str:
        """Valid in form, signed with another secret."""
        return tokens.mint(
            hashlib.sha256(self.secret).digest(), subject=str(user), now_s=self.now_s, ttl_s=3600
        )

    def expired(self, user: int) -> str:
        """Signed correctly and expired."""
        return tokens.mint(self.secret, subject=str(user), now_s=self.now_s - 7200, ttl_s=3600)


@dataclass(kw_only=True)
class Player:
    """A user whom one client submits for. Its increments are unique, so events name theirs."""

    user: int
    token: str
    magnitudes: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1000))
    keys: list[str] = field(default_factory=list)
    """The last few accepted keys, for attacks that reuse one."""


class ClientPool:
    """All clients of a run, in one event loop.

    `rate` is submissions per second over all ordinary clients; hot users come on top, each
    a little beyond its rate limit.
    """

    def __init__(
        self,
        writer: HistoryWriter,
        port: int,
        *,
        secret: bytes,
        users: range,
        hot_users: range,
        clients: int,
        rate: float,
        hot_rate: float,
        rng: random.Random,
        attack_share: float = ATTACK_SHARE,
    ) -> None:
        self._attack_share = attack_share
        self.counts: Counter[str] = Counter()
        self._writer = writer
        self._port = port
        self._tokens = Tokens(secret=secret, now_s=int(time.time()))
        self._rng = rng
        self._stopping = asyncio.Event()
        self._clients: list[Client] = []
        shares = [list(users[number::clients]) for number in range(clients)]
        for number, share in enumerate(shares):
            self._add(f"c{number}", share, clients / rate)
        for user in hot_users:
            self._add(f"hot{user}", [user], 1 / hot_rate, concurrent=4)
        self._tasks: list[asyncio.Task[None]] = []

    def _add(self, name: str, users: list[int], interval_s: float, concurrent: int = 1) -> None:
        players = [Player(user=user, token=self._tokens.user(user)) for user in users]
        for number in range(concurrent):
            own = [players[0]] if concurrent > 1 else players
            self._clients.append(
                Client(
                    self._writer,
                    self._port,
                    name=f"{name}.{number}" if concurrent > 1 else name,
                    players=own,
                    tokens=self._tokens,
                    interval_s=interval_s * concurrent,
                    rng=random.Random(self._rng.random()),
                    counts=self.counts,
                    stopping=self._stopping,
                    attack_share=self._attack_share,
                )
            )

    def start(self) -> None:
        """Start every client."""
        self._tasks = [asyncio.create_task(client.run()) for client in self._clients]

    async def stop(self, *, timeout_s: float) -> None:
        """Stop new submissions; retry those in flight for up to `timeout_s`."""
        self._stopping.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            for result in await asyncio.gather(*self._tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result


class Client:
    """One client: one submission at a time, on a connection that it replaces when it breaks."""

    def __init__(
        self,
        writer: HistoryWriter,
        port: int,
        *,
        name: str,
        players: list[Player],
        tokens: Tokens,
        interval_s: float,
        rng: random.Random,
        counts: Counter[str],
        stopping: asyncio.Event,
        attack_share: float = 0.0,
    ) -> None:
        self._attack_share = attack_share
        self._writer = writer
        self._port = port
        self._name = name
        self._players = players
        self._tokens = tokens
        self._interval_s = interval_s
        self._rng = rng
        self._counts = counts
        self._stopping = stopping
        self._numbers = itertools.count()
        self._line = Line(port)

    async def run(self) -> None:
        """Submit until told to stop, on a schedule that does not catch up more than a second."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._rng.uniform(0, self._interval_s)
        try:
            while not self._stopping.is_set():
                delay = due - loop.time()
                if delay > 0:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), delay)
                        return
                due = max(due + self._interval_s, loop.time() - 1.0)
                await self._one(self._rng.choice(self._players))
        finally:
            self.close()

    def close(self) -> None:
        """Drop its connection; the next submission opens another."""
        self._line.close()

    async def _one(self, player: Player) -> None:
        chance = self._rng.random()
        if chance < self._attack_share:
            await self._attack(player)
            return
        increment = next(player.magnitudes)
        if self._rng.random() < NEGATIVE_SHARE:
            increment = -increment
        key = f"{self._name}-{next(self._numbers)}"
        if chance < self._attack_share + DUPLICATED_SHARE:
            await self._duplicated(player, key, increment)
        else:
            await self._submit(player, key, increment)

    async def _submit(self, player: Player, key: str, increment: int) -> None:
        gives_up = self._rng.random() < GIVE_UP_SHARE
        began = time.monotonic()
        pause_s = PAUSE_FIRST_S
        for attempt in itertools.count(1):
            outcome, status = await self.attempt(player, key, increment, attempt)
            if outcome is Outcome.OK:
                self._counts["accepted"] += 1
                player.keys = [*player.keys[-9:], key]
                return
            if outcome is Outcome.FAIL and status is not None:
                self._counts[f"refused {status}"] += 1
                return
            if (outcome is Outcome.UNKNOWN and gives_up) or time.monotonic() - began > PATIENCE_S:
                self._counts["given up"] += 1
                return
            await asyncio.sleep(pause_s * self._rng.uniform(0.5, 1))
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    async def attempt(
        self,
        player: Player,
        key: str,
        increment: int,
        attempt: int = 1,
        *,
        fresh: bool = False,
        attack: str | None = None,
        user: int | None = None,
        token: str | None = None,
    ) -> tuple[Outcome, int | None]:
        """Send one attempt of a submission; what it proved, and the status if there was one.

        `fresh` takes a connection of its own. `user` and `token` are the player's own but in an
        attack.
        """
        user = player.user if user is None else user
        body = SUBMISSION_BODY % (user, increment)
        principal = str(player.user)
        of = self._writer.submit(
            client=f"{self._name}/{attempt}" if fresh else self._name,
            principal=principal,
            user=user,
            increment=increment,
            digest=digest_of(body),
            key=key,
            sid=ids.text(ids.keyed_submission_id(principal, key)),
            attempt=attempt,
            attack=attack,
        )
        request = _request(body, key, token or player.token)
        if not fresh:
            return await self._exchange(self._line, of, request)
        line = Line(self._port)
        try:
            return await self._exchange(line, of, request)
        finally:
            line.close()

    async def _duplicated(self, player: Player, key: str, increment: int) -> None:
        """The same request three times at once, on connections of their own."""
        await asyncio.gather(
            *(self.attempt(player, key, increment, n, fresh=True) for n in (1, 2, 3))
        )
        self._counts["sent three times at once"] += 1

    async def _attack(self, player: Player) -> None:
        kind = self._rng.choice(("wrong-user", "forged-token", "expired-token", "reused-key"))
        user, token, key = player.user, player.token, f"{self._name}-x{next(self._numbers)}"
        # Larger than any honest increment, so that an effect could be traced to the attack.
        increment = 500_000 + next(player.magnitudes)
        if kind == "wrong-user":
            user += 1
        elif kind == "forged-token":
            token = self._tokens.forged(user)
        elif kind == "expired-token":
            token = self._tokens.expired(user)
        elif not player.keys:
            return
        else:
            key = self._rng.choice(player.keys)
        await self.attempt(player, key, increment, attack=kind, user=user, token=token)
        self._counts["attacks"] += 1

    async def _exchange(self, line: Line, of: int, request: bytes) -> tuple[Outcome, int | None]:
        """Send a request and record its outcome, whatever it is."""
        try:
            reply = await line.ask(request)
        except NothingSent as error:
            self._writer.done(of, Outcome.FAIL, code=str(error))
            return Outcome.FAIL, None
        except BROKEN as error:
            outcome = outcome_of_error(error)
            self._writer.done(of, outcome, code=type(error).__name__)
            self._counts["answers lost"] += outcome is Outcome.UNKNOWN
            return outcome, None
        outcome = outcome_of_status(reply.status)
        sid, code = _said(reply)
        self._writer.done(of, outcome, status=reply.status, sid=sid, code=code)
        return outcome, reply.status


class Reader:
    """A client that polls the board."""

    def __init__(self, writer: HistoryWriter, port: int, *, name: str, rng: random.Random) -> None:
        self._writer = writer
        self._name = name
        self._rng = rng
        self._line = Line(port)

    async def run(self, interval_s: float) -> None:
        """Poll until cancelled."""
        try:
            while True:
                await self.read(
                    limit=self._rng.choice((10, 100)), offset=self._rng.choice((0, 0, 5))
                )
                await asyncio.sleep(interval_s)
        finally:
            self.close()

    def close(self) -> None:
        """Drop its connection; the next read opens another."""
        self._line.close()

    async def read(self, *, limit: int = 10, offset: int = 0) -> tuple[int, list[Score]] | None:
        """One read; its seq and scores when it succeeded."""
        of = self._writer.read(client=self._name, limit=limit, offset=offset)
        try:
            # Servers may cache the default page, so ask for it without parameters.
            asked = "" if (limit, offset) == (10, 0) else f"?limit={limit}&offset={offset}"
            reply = await self._line.ask(get(f"{contract.SCORES_PATH}{asked}"))
        except BROKEN as error:
            self._writer.done(of, Outcome.UNKNOWN, code=type(error).__name__)
            return None
        outcome = outcome_of_status(reply.status)
        seq = reply.header(contract.SEQ_HEADER)
        if outcome is not Outcome.OK or seq is None:
            self._writer.done(of, outcome, status=reply.status)
            return None
        scores: list[Score] = [(row["user"], row["score"]) for row in json.loads(reply.body)]
        self._writer.done(of, outcome, status=reply.status, seq=int(seq), scores=scores)
        return int(seq), scores


class Probe:
    """Detects recovery: retries a fresh submission until a listener sees its change."""

    def __init__(
        self, writer: HistoryWriter, port: int, *, secret: bytes, user: int, seen: Callable[[], int]
    ) -> None:
        """`seen` gives the newest score of `user` on any stream."""
        self._seen = seen
        self._player = Player(
            user=user, token=Tokens(secret=secret, now_s=int(time.time())).user(user)
        )
        self._client = Client(
            writer,
            port,
            name="probe",
            players=[self._player],
            tokens=Tokens(secret=secret, now_s=int(time.time())),
            interval_s=1.0,
            rng=random.Random(0),
            counts=Counter(),
            stopping=asyncio.Event(),
        )
        self._numbers = itertools.count()

    async def comes_through(self, *, timeout_s: float) -> bool:
        """Returns when a fresh submission is accepted and seen; False when it is not in time."""
        began = time.monotonic()
        before = self._seen()
        increment = next(self._player.magnitudes)
        key = f"probe-{next(self._numbers)}"
        accepted = False
        for attempt in itertools.count(1):
            if time.monotonic() - began > timeout_s:
                return False
            if not accepted:
                outcome, _ = await self._client.attempt(self._player, key, increment, attempt)
                accepted = outcome is Outcome.OK
            if accepted and self._seen() > before:
                return True
            await asyncio.sleep(0.01 if accepted else 0.1)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Drop its connection."""
        self._client.close()


def _request(body: bytes, key: str, token: str) -> bytes:
    head = submission_head("127.0.0.1", token)
    named = f'{contract.IDEMPOTENCY_HEADER}: "{key}"\r\nContent-Length: {len(body)}\r\n\r\n'
    return (head + named).encode() + body


def _said(reply: Reply) -> tuple[str | None, str | None]:
    """The submission id and the problem's code, whichever the reply has."""
    with contextlib.suppress(ValueError):
        body = json.loads(reply.body)
        if isinstance(body, dict):
            return body.get("submissionId"), body.get("code")
    return None, None
