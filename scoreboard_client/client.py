"""Speaks the scoreboard's HTTP contract: one connection pool, retries, reconnects.

Decisions live elsewhere: `retry` says when to try again, `follow` what a stream
means. Not safe to share between event loops.
"""

import asyncio
import logging
import random
import secrets
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from scoreboard import contract, sse
from scoreboard.domain import Standing
from scoreboard.signing import SigningKey, sign
from scoreboard_client.errors import (
    BadAnswer,
    ClientError,
    EffectUnknown,
    Problem,
    Refused,
    Unreachable,
)
from scoreboard_client.follow import Follower, StreamEvent
from scoreboard_client.retry import RetryPolicy, parse_retry_after

log = logging.getLogger(__name__)

DEFAULT_URL = "http://localhost:3000"
DEFAULT_RETRY = RetryPolicy()
ANSWER_BYTES_MAX = 1 << 20
ATTEMPT_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 40.0
"""Silence after which a stream counts as dead: two heartbeats (15 s) and some more."""

STREAM_FAILURES_MAX = 30
"""Connections in a row without one byte of a stream, after which `follow` gives up."""

STREAM_BREACHES_MAX = 3
"""Connections in a row that broke the contract before one event, after which it gives up."""

RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
_DRAINED = 204

_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_TRANSPORT_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)


class _AcceptedBody(msgspec.Struct, frozen=True, rename="camel"):
    submission_id: str


class _StatusBody(msgspec.Struct, frozen=True, rename="camel"):
    submission_id: str
    status: str
    score: int | None = None
    seq: int | None = None
    reason: str | None = None


class _ProblemBody(msgspec.Struct, frozen=True):
    code: str = "unknown"
    title: str = ""
    detail: str = ""


_accepted = msgspec.json.Decoder(_AcceptedBody)
_status = msgspec.json.Decoder(_StatusBody)
_problem = msgspec.json.Decoder(_ProblemBody)
_standings = msgspec.json.Decoder(list[Standing])


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A submission the server holds durably: `attempts` sends were needed."""

    submission_id: str
    idempotency_key: str
    attempts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Top:
    """Lines of the board, best first; `seq` is the last change they contain, if the server said."""

    seq: int | None
    scores: tuple[Standing, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a submission: `status` is pending, applied, held (for review) or rejected.

    Applied has the user's `score` after it and its `seq`; rejected has a `reason`.
    """

    submission_id: str
    status: str
    score: int | None
    seq: int | None
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    status: int
    seq: str
    body: bytes
    retry_after_s: float | None


class ScoreboardClient:
    """One server, as seen by one user of it. Use as an async context manager.

    `token` is a bearer token or a function that returns a current one; it is
    asked before every attempt. With `signing_key` every attempt to submit is signed
    (RFC 9421). `rng` is the source of the waits' jitter. Raises
    ValueError for a malformed URL.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        token: str | Callable[[], str] | None = None,
        signing_key: SigningKey | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        attempt_timeout_s: float = ATTEMPT_TIMEOUT_S,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        rng: random.Random | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise ValueError("the server's URL must look like http://host:port")
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._signing_key = signing_key
        self._retry = retry
        self._attempt_timeout = aiohttp.ClientTimeout(total=attempt_timeout_s)
        self._stream_timeout = aiohttp.ClientTimeout(
            total=None, connect=attempt_timeout_s, sock_read=idle_timeout_s
        )
        self._rng = rng or random.Random()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # No limit: each `follow` holds a connection for as long as it lives.
            connector=aiohttp.TCPConnector(limit=0)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def submit(
        self, *, user_id: int, increment: int, idempotency_key: str | None = None
    ) -> Accepted:
        """Add points, exactly once however many attempts it takes.

        The key defaults to a random one. Raises Refused (nothing changed),
        Unreachable (nothing changed) or EffectUnknown (repeat with its key);
        ValueError for a malformed key, before anything is sent.
        """
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        if contract.parse_idempotency_key(key) is None:
            raise ValueError(
                f"an idempotency key has 1 to {contract.IDEMPOTENCY_KEY_MAX_CHARS} visible ASCII"
                " characters"
            )
        body = msgspec.json.encode({"userId": user_id, "increment": increment})
        headers = {contract.IDEMPOTENCY_HEADER: key, "Content-Type": "application/json"}
        attempts = _Attempts(self._retry, self._rng)
        # Once an attempt may have taken effect, no later refusal can prove that nothing happened.
        maybe_done = False
        while True:
            attempts.begin()
            try:
                answer = await self._send(
                    "POST",
                    contract.UPDATE_PATH,
                    headers=self._signed(contract.UPDATE_PATH, headers, body),
                    body=body,
                )
            except _NEVER_SENT as error:
                failure: ClientError = Unreachable(_reason(error))
                retry_after_s = None
            except _TRANSPORT_ERRORS as error:
                maybe_done = True
                failure = Unreachable(_reason(error))
                retry_after_s = None
            else:
                if answer.status == 202:
                    return self._accepted(answer, key, attempts.made)
                maybe_done = maybe_done or not 400 <= answer.status < 500
                failure = _refusal(answer)
                retry_after_s = answer.retry_after_s
                if answer.status not in RETRIED_STATUSES:
                    attempts.give_up()
            if not await attempts.again(retry_after_s):
                if maybe_done:
                    raise EffectUnknown(key, str(failure)) from failure
                raise failure

    def _accepted(self, answer: _Answer, key: str, attempts: int) -> Accepted:
        try:
            body = _accepted.decode(answer.body)
        except msgspec.DecodeError as error:
            raise EffectUnknown(key, f"the 202 is malformed: {error}") from error
        return Accepted(submission_id=body.submission_id, idempotency_key=key, attempts=attempts)

    async def top(self, *, limit: int = contract.TOP_DEFAULT, offset: int = 0) -> Top:
        """The board from place `offset` + 1 on. Raises Refused, Unreachable or BadAnswer."""
        return _top(await self._get(f"{contract.SCORES_PATH}?limit={limit:d}&offset={offset:d}"))

    async def outcome(self, submission_id: str) -> Outcome:
        """What became of an accepted submission, as far as is known now.

        Raises Refused (also for another user's), Unreachable or BadAnswer.
        """
        path = f"{contract.OUTCOMES_PATH}/{quote(submission_id, safe='')}"
        return _outcome(await self._get(path))

    async def _get(self, path: str) -> _Answer:
        """A 200, however many attempts it takes. Raises Refused or Unreachable."""
        attempts = _Attempts(self._retry, self._rng)
        while True:
            attempts.begin()
            try:
                answer = await self._send("GET", path)
            except _TRANSPORT_ERRORS as error:
                failure: ClientError = Unreachable(_reason(error))
                retry_after_s = None
            else:
                if answer.status == 200:
                    return answer
                failure = _refusal(answer)
                retry_after_s = answer.retry_after_s
                if answer.status not in RETRIED_STATUSES:
                    attempts.give_up()
            if not await attempts.again(retry_after_s):
                raise failure

    async def follow(
        self, *, last_event_id: int | None = None, snapshot: bool = False
    ) -> AsyncGenerator[StreamEvent, None]:
        """Every change of the board in order, across reconnects; close it (`aclosing`) to stop.

        Without `last_event_id` it begins now, with `snapshot` with the top of the
        board. Changes arrive without gap and without repeat; where history is
        gone, a Reset carries the state to go on from. Ends when the server says
        that there is nothing to come back for (204). Raises Refused for an answer
        that waiting does not mend, Unreachable after STREAM_FAILURES_MAX failures
        in a row, BadAnswer when the stream keeps breaking its contract.
        """
        follower = Follower(last_event_id)
        failures = breaches = 0
        while True:
            wait_s = 0.0
            failure: ClientError
            try:
                async with aclosing(self._connection(follower, snapshot)) as connection:
                    async for item in connection:
                        failures = 0
                        if isinstance(item, float):
                            wait_s = item
                        else:
                            breaches = 0
                            yield item
                # A clean end is how a server drains: come back after its `retry:`.
                failure = Unreachable("the stream ended")
            except _Over:
                return
            except _TRANSPORT_ERRORS as error:
                failure = Unreachable(_reason(error))
            except Refused as refused:
                if refused.problem.status not in RETRIED_STATUSES:
                    raise
                failure = refused
                wait_s = refused.problem.retry_after_s or 0.0
            except BadAnswer as breach:
                failure = breach
                breaches += 1
                if breaches >= STREAM_BREACHES_MAX:
                    raise
            failures += 1
            if failures >= STREAM_FAILURES_MAX:
                raise failure
            wait_s += self._retry.backoff_s(failures, self._rng)
            log.info("stream lost (%s); reconnecting in %.1f s", failure, wait_s)
            await asyncio.sleep(wait_s)

    async def _connection(
        self, follower: Follower, snapshot: bool
    ) -> AsyncGenerator[StreamEvent | float, None]:
        """One connection: its events, and after each chunk the reconnect wait in seconds."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        path = contract.STREAM_PATH
        if follower.last_seq is not None:
            headers[contract.LAST_EVENT_ID_HEADER] = str(follower.last_seq)
        elif snapshot:
            path += "?snapshot=1"
        async with self._opened().get(
            self._base_url + path,
            headers=headers | self._authorization(),
            timeout=self._stream_timeout,
            allow_redirects=False,
        ) as response:
            if response.status == _DRAINED:
                raise _Over
            if response.status != 200:
                raise _refusal(await _read(response))
            if response.content_type != "text/event-stream":
                raise BadAnswer(f"the stream's type is {response.content_type!r}")
            reading = follower.reading()
            async for chunk in response.content.iter_any():
                for event in reading.feed(chunk):
                    yield event
                yield (reading.retry_ms or 0) / 1000

    async def _send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> _Answer:
        async with self._opened().request(
            method,
            self._base_url + path,
            data=body,
            headers=(headers or {}) | self._authorization(),
            timeout=self._attempt_timeout,
            # A redirected POST would become a GET, and a token would travel to another host.
            allow_redirects=False,
        ) as response:
            return await _read(response)

    def _signed(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        """The headers, signed anew: a signature is only good for some minutes."""
        if self._signing_key is None:
            return headers
        return sign(
            method="POST",
            url=self._base_url + path,
            headers=headers,
            body=body,
            key=self._signing_key,
            created_s=int(time.time()),
            nonce=secrets.token_urlsafe(16),
        )

    def _authorization(self) -> dict[str, str]:
        token = self._token() if callable(self._token) else self._token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use ScoreboardClient as an async context manager")
        return self._session


class _Over(Exception):
    """The server asked not to come back."""


class _Attempts:
    """The attempts of one call: counts them, keeps time, sleeps between."""

    def __init__(self, policy: RetryPolicy, rng: random.Random) -> None:
        self.made = 0
        self._policy = policy
        self._rng = rng
        self._began_s = time.monotonic()
        self._final = False

    def begin(self) -> None:
        self.made += 1

    def give_up(self) -> None:
        self._final = True

    async def again(self, retry_after_s: float | None) -> bool:
        """Wait for the next attempt; False when there is none."""
        if self._final:
            return False
        wait_s = self._policy.wait_s(
            self.made,
            elapsed_s=time.monotonic() - self._began_s,
            retry_after_s=retry_after_s,
            rng=self._rng,
        )
        if wait_s is None:
            return False
        await asyncio.sleep(wait_s)
        return True


async def _read(response: aiohttp.ClientResponse) -> _Answer:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return _Answer(
        status=response.status,
        seq=response.headers.get(contract.SEQ_HEADER, ""),
        body=bytes(body),
        retry_after_s=parse_retry_after(response.headers.get("Retry-After"), now_s=time.time()),
    )


def _refusal(answer: _Answer) -> Refused:
    try:
        body = _problem.decode(answer.body)
    except msgspec.DecodeError:
        # A proxy in between answers in its own words.
        body = _ProblemBody()
    return Refused(
        Problem(
            status=answer.status,
            code=body.code,
            title=body.title or "the server gave no reason",
            detail=body.detail,
            retry_after_s=answer.retry_after_s,
        )
    )


def _top(answer: _Answer) -> Top:
    try:
        scores = _standings.decode(answer.body)
    except msgspec.DecodeError as error:
        raise BadAnswer(f"the board is malformed: {error}") from error
    return Top(seq=sse.parse_last_event_id(answer.seq), scores=tuple(scores))


def _outcome(answer: _Answer) -> Outcome:
    try:
        body = _status.decode(answer.body)
    except msgspec.DecodeError as error:
        raise BadAnswer(f"the outcome is malformed: {error}") from error
    return Outcome(
        submission_id=body.submission_id,
        status=body.status,
        score=body.score,
        seq=body.seq,
        reason=body.reason,
    )


def _reason(error: BaseException) -> str:
    said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
