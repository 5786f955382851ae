"""Speaks the scoreboard's HTTP contract: one connection pool, retries, reconnects.

Decisions live elsewhere: `retry` says when to try again, `follow` what a stream
means. Not safe to share between event loops.
"""

import logging
import math
import random
import secrets
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from scoreboard import contract
from scoreboard.domain import Standing
from scoreboard.signing import SigningKey, sign
from scoreboard_client.answers import (
    Accepted,
    Answer,
    Managed,
    Outcome,
    Top,
    accepted_of,
    counts_of,
    managed_of,
    outcome_of,
    read,
    reason_of,
    refusal_of,
    top_of,
)
from scoreboard_client.attempts import Attempts, wait
from scoreboard_client.errors import BadAnswer, ClientError, EffectUnknown, Refused, Unreachable
from scoreboard_client.follow import Follower, Reset, StreamEvent
from scoreboard_client.retry import RetryPolicy
from scoreboard_client.reviews import (
    ANY_OPEN,
    PAGE_MAX,
    CaseFilter,
    CaseHolder,
    CaseResult,
    HeldCase,
    cases_of,
    cases_path,
    holders_of,
    results_of,
)

log = logging.getLogger(__name__)

DEFAULT_URL = "http://localhost:3000"
DEFAULT_RETRY = RetryPolicy()
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


def checked_url(text: str) -> str:
    """The server's address, without a slash at its end. Raises ValueError with the form."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:
        fits = False
    if not fits or parts.query or parts.fragment:
        raise ValueError(f"the server's URL must look like http://host:port, not {text!r}")
    return text.rstrip("/")


class ScoreboardClient:
    """One server, as seen by one user of it. Use as an async context manager.

    `token` is a bearer token or a function that returns a current one; it is
    asked before every attempt. With `signing_key` every attempt to submit is signed
    (RFC 9421). `rng` is the source of the waits' jitter. Raises
    ValueError for a malformed URL.

    Whatever it has seen, on a stream, in an outcome or on the board, `top` never goes back behind
    it, whichever process of the server answers. For a new database make a new client.
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
        self._base_url = checked_url(base_url)
        self._token = token
        self._signing_key = signing_key
        self._retry = retry
        self._attempt_timeout = aiohttp.ClientTimeout(total=attempt_timeout_s)
        self._stream_timeout = aiohttp.ClientTimeout(
            total=None, connect=attempt_timeout_s, sock_read=idle_timeout_s
        )
        self._rng = rng or random.Random()
        self._session: aiohttp.ClientSession | None = None
        # The last change that any answer or event contained.
        self._seen = 0

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
        answer, attempts = await self._post(contract.UPDATE_PATH, body, key, wanted=202)
        return accepted_of(answer, key, attempts)

    async def manage_player(
        self, order: Mapping[str, object], *, idempotency_key: str | None = None
    ) -> Managed:
        """Carry out an order of an operator, as POST /admin/players takes it, exactly once.

        Raises what `submit` raises.
        """
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        answer, _ = await self._post(
            contract.PLAYERS_PATH, msgspec.json.encode(order), key, wanted=200
        )
        return managed_of(answer, key)

    async def look_now(self) -> dict[str, int]:
        """Make the server compare the whole board with MySQL; what it found, as POST
        /admin/players/look answers it. Raises what `submit` raises."""
        key = str(uuid.uuid4())
        answer, _ = await self._post(f"{contract.PLAYERS_PATH}/look", b"", key, wanted=200)
        return counts_of(answer)

    async def players(self, *, after: int = 0, limit: int = 100) -> tuple[Standing, ...]:
        """The next players by id after `after`, for operators.

        Raises Refused, Unreachable or BadAnswer.
        """
        path = f"{contract.PLAYERS_PATH}?after={after:d}&limit={limit:d}"
        return top_of(await self._get(path)).scores

    async def held_cases(
        self,
        wanted: CaseFilter = ANY_OPEN,
        *,
        after: str | None = None,
        limit: int = PAGE_MAX,
    ) -> tuple[HeldCase, ...]:
        """The next held submissions after the case `after`, for reviewers: oldest first, or the
        latest decision first when decided ones are asked for, too.

        Raises Refused, Unreachable or BadAnswer.
        """
        return cases_of(await self._get(cases_path(wanted, after=after, limit=limit)))

    async def case_holders(
        self, *, limit: int = PAGE_MAX, offset: int = 0
    ) -> tuple[CaseHolder, ...]:
        """The users with open cases after the first `offset`, most cases first.

        Raises what `held_cases` raises.
        """
        path = f"{contract.REVIEWS_PATH}/users?limit={limit:d}&offset={offset:d}"
        return holders_of(await self._get(path))

    async def decide(self, decisions: Mapping[str, str]) -> tuple[CaseResult, ...]:
        """Decide up to DECISIONS_MAX cases by id: "approve" or "reject"; a result for each.

        Safe to repeat. Raises Refused, Unreachable, EffectUnknown or BadAnswer.
        """
        listed = [{"submissionId": id, "decision": each} for id, each in decisions.items()]
        body = msgspec.json.encode({"decisions": listed})
        answer, _ = await self._post(
            f"{contract.REVIEWS_PATH}/decisions", body, str(uuid.uuid4()), wanted=200
        )
        return results_of(answer)

    async def _post(self, path: str, body: bytes, key: str, *, wanted: int) -> tuple[Answer, int]:
        """The answer of the status `wanted`, and how many attempts it took. Raises Refused,
        Unreachable or EffectUnknown."""
        headers = {contract.IDEMPOTENCY_HEADER: key, "Content-Type": "application/json"}
        attempts = Attempts(self._base_url, self._retry, self._rng)
        # Once an attempt may have taken effect, no later refusal can prove that nothing happened.
        maybe_done = False
        while True:
            attempts.begin()
            try:
                answer = await self._send(
                    "POST",
                    path,
                    headers=self._signed(path, headers, body),
                    body=body,
                )
            except _NEVER_SENT as error:
                failure: ClientError = self._unreachable(error)
                retry_after_s = None
            except _TRANSPORT_ERRORS as error:
                maybe_done = True
                failure = self._unreachable(error)
                retry_after_s = None
            else:
                if answer.status == wanted:
                    return answer, attempts.made
                maybe_done = maybe_done or not 400 <= answer.status < 500
                failure = refusal_of(answer)
                retry_after_s = answer.retry_after_s
                if answer.status not in RETRIED_STATUSES:
                    attempts.give_up()
            if not await attempts.again(failure, retry_after_s):
                if maybe_done:
                    raise EffectUnknown(key, str(failure)) from failure
                raise failure

    async def top(self, *, limit: int = contract.TOP_DEFAULT, offset: int = 0) -> Top:
        """The board from place `offset` + 1 on. Raises Refused, Unreachable or BadAnswer."""
        path = f"{contract.SCORES_PATH}?limit={limit:d}&offset={offset:d}"
        found = top_of(await self._get(path, at_least=True))
        self._note(found.seq)
        return found

    async def outcome(self, submission_id: str) -> Outcome:
        """What became of an accepted submission, as far as is known now.

        Raises Refused (also for another user's), Unreachable or BadAnswer.
        """
        path = f"{contract.OUTCOMES_PATH}/{quote(submission_id, safe='')}"
        found = outcome_of(await self._get(path))
        self._note(found.seq)
        return found

    def _note(self, seq: int | None) -> None:
        self._seen = max(self._seen, seq or 0)

    async def _get(self, path: str, *, at_least: bool = False) -> Answer:
        """A 200, however many attempts it takes; with `at_least` no older than what was seen.

        Raises Refused or Unreachable.
        """
        attempts = Attempts(self._base_url, self._retry, self._rng)
        while True:
            attempts.begin()
            try:
                floor = {contract.SEQ_HEADER: str(self._seen)} if at_least and self._seen else {}
                answer = await self._send("GET", path, headers=floor)
            except _TRANSPORT_ERRORS as error:
                failure: ClientError = self._unreachable(error)
                retry_after_s = None
            else:
                if answer.status == 200:
                    return answer
                failure = refusal_of(answer)
                retry_after_s = answer.retry_after_s
                if answer.status not in RETRIED_STATUSES:
                    attempts.give_up()
            if not await attempts.again(failure, retry_after_s):
                raise failure

    async def follow(
        self,
        *,
        last_event_id: int | None = None,
        snapshot: bool = False,
        give_up_s: float = math.inf,
    ) -> AsyncGenerator[StreamEvent, None]:
        """Every change of the board in order, across reconnects; close it (`aclosing`) to stop.

        Without `last_event_id` it begins now, with `snapshot` with the top of the
        board. Changes arrive without gap and without repeat; where history is
        gone, a Reset carries the state to go on from. Ends when the server says
        that there is nothing to come back for (204). Raises Refused for an answer
        that waiting does not mend, Unreachable after STREAM_FAILURES_MAX failures
        in a row or `give_up_s` without a byte, BadAnswer when the stream keeps
        breaking its contract.
        """
        follower = Follower(last_event_id)
        failures = breaches = 0
        heard_s = time.monotonic()
        while True:
            wait_s = 0.0
            failure: ClientError
            try:
                async with aclosing(self._connection(follower, snapshot)) as connection:
                    async for item in connection:
                        failures = 0
                        heard_s = time.monotonic()
                        if isinstance(item, float):
                            wait_s = item
                        else:
                            breaches = 0
                            if isinstance(item, Reset):
                                # It may be behind: what was seen before is no more.
                                self._seen = item.seq
                            self._note(item.seq)
                            yield item
                # A clean end is how a server drains: come back after its `retry:`.
                failure = Unreachable(self._base_url, "the stream ended")
            except _Over:
                return
            except _TRANSPORT_ERRORS as error:
                failure = self._unreachable(error)
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
            wait_s += self._retry.backoff_s(failures, self._rng)
            silent_s = time.monotonic() - heard_s + wait_s
            if failures >= STREAM_FAILURES_MAX or silent_s >= give_up_s:
                raise failure
            await wait(wait_s, self._base_url, failure)

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
                raise refusal_of(await read(response))
            if response.content_type != "text/event-stream":
                raise BadAnswer(f"the stream's type is {response.content_type!r}")
            log.debug("connected to %s", self._base_url)
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
    ) -> Answer:
        async with self._opened().request(
            method,
            self._base_url + path,
            data=body,
            headers=(headers or {}) | self._authorization(),
            timeout=self._attempt_timeout,
            # A redirected POST would become a GET, and a token would travel to another host.
            allow_redirects=False,
        ) as response:
            return await read(response)

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

    def _unreachable(self, error: BaseException) -> Unreachable:
        return Unreachable(self._base_url, reason_of(error))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use ScoreboardClient as an async context manager")
        return self._session


class _Over(Exception):
    """The server asked not to come back."""
