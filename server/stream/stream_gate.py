"""Who may open an event stream: origin, token, and how many at a time.

A token comes in the Authorization header, in the cookie `scoreboard_token` or as
a single-use ticket. The stream of a listener with a token ends when that expires.
Not what a stream says: see `hub`.

An anonymous listener without limits passes at the cost of three look-ups in its
header: no task, no call, no object.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from sanic.request import Request

from adapters.redis import Redis
from scoreboard import sse
from scoreboard.errors import MALFORMED, TOO_MANY_STREAMS, UNAUTHORIZED, Problem
from scoreboard.tokens import LEEWAY_S, Principal
from server.auth.bearer import Authenticator
from server.auth.origins import Origins
from server.settings import ServerSettings
from server.stream.client_ip import client_address
from server.stream.leases import Claim, Leases
from server.stream.listener import Listener
from server.stream.tickets import EXPIRES_S, Tickets

log = structlog.get_logger()

COOKIE = "scoreboard_token"
EXPIRY_INTERVAL_S = 0.5
RETRY_AFTER_S = 5
_ADDRESS, _USER = "a:", "u:"


class Ticket(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer of POST /scores/stream/ticket."""

    ticket: str
    expires_in_s: int = EXPIRES_S


class Entry:
    """A stream that may open: its CORS headers, and what must be given back after it."""

    __slots__ = ("_gate", "claims", "headers", "principal")

    def __init__(
        self,
        gate: "StreamGate",
        headers: tuple[tuple[str, str], ...],
        principal: Principal | None,
        claims: Sequence[Claim],
    ) -> None:
        self._gate = gate
        self.headers = headers
        self.principal = principal
        self.claims = claims

    def opened(self, listener: Listener) -> None:
        """The stream is open: watch over it until it ends."""
        self._gate.watch(listener, self)

    def failed(self) -> None:
        """The stream did not open after all."""
        self._gate.give_back(self)


class StreamGate:
    """Stands in front of the hub."""

    def __init__(
        self,
        settings: ServerSettings,
        authenticator: Authenticator,
        redis: Redis,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._required = settings.stream_auth_required
        self._per_address = settings.streams_per_address
        self._per_user = settings.streams_per_user
        self._proxies = settings.proxies_count
        self._origins = Origins(settings.stream_origins)
        self._tickets = Tickets(redis)
        self._leases = Leases(redis, clock=time.monotonic, lease_s=settings.stream_lease_s)
        self._expiring: dict[Listener, float] = {}
        # Nothing but the origin and a token that was sent can keep an anonymous listener out.
        self._open = not self._required and not self._per_address

    def background(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """Runs as long as the process: renews leases, ends streams whose token has expired."""
        return [self._leases.run, self._end_expired]

    async def enter(self, request: Request, arguments: Mapping[str, Sequence[str]]) -> Entry | None:
        """What to hold while the stream is open; None when there is nothing. Raises Problem."""
        headers = request.headers
        tickets = arguments["ticket"] if "ticket" in arguments else ()  # noqa: SIM401
        if self._open and not tickets and _plain(headers):
            return None
        cors = self.cors(request)
        principal = await self._principal(headers, tickets)
        claims = []
        if self._per_address:
            address = client_address(
                request.ip, headers.getall("x-forwarded-for", ()), proxies=self._proxies
            )
            claims.append(Claim(_ADDRESS + address, self._per_address))
        if self._per_user and principal is not None:
            claims.append(Claim(_USER + principal.subject, self._per_user))
        if claims:
            full = await self._leases.acquire(claims)
            if full is not None:
                whose = "address" if full.holder.startswith(_ADDRESS) else "user"
                raise Problem(
                    TOO_MANY_STREAMS,
                    f"This {whose} has as many event streams as it may.",
                    retry_after_s=RETRY_AFTER_S,
                )
        return Entry(self, cors, principal, claims)

    def watch(self, listener: Listener, entry: Entry) -> None:
        """Give back what `entry` holds when the listener is gone; end it when its token expires."""
        if entry.principal is not None:
            # With the leeway of the check: a token that still opens streams ends none.
            self._expiring[listener] = entry.principal.expires_s + LEEWAY_S

        def gone() -> None:
            self._expiring.pop(listener, None)
            self.give_back(entry)

        listener.on_closed = gone

    def give_back(self, entry: Entry) -> None:
        """The stream of `entry` is over."""
        if entry.claims:
            self._leases.release(entry.claims)

    async def issue_ticket(self, request: Request) -> tuple[tuple[tuple[str, str], ...], Ticket]:
        """CORS headers and a ticket for the token's subject. Raises Problem."""
        cors = self.cors(request)
        principal = self._authenticator.principal(request.headers.getall("authorization", ()))
        return cors, Ticket(ticket=await self._tickets.issue(principal))

    def cors(self, request: Request) -> tuple[tuple[str, str], ...]:
        """Headers for a request's Origin. Raises Problem (forbidden)."""
        headers = request.headers
        return self._origins.headers(headers.getall("origin", ()), headers.get("host", ""))

    async def _principal(self, headers: Any, tickets: Sequence[str]) -> Principal | None:
        authorization = headers.getall("authorization", ())
        if tickets:
            if len(tickets) > 1 or authorization:
                raise Problem(MALFORMED, "Send one ticket, or one token.")
            return await self._tickets.redeem(tickets[0])
        if authorization:
            return self._authenticator.principal(authorization)
        tokens = cookies(headers.getall("cookie", ()), COOKIE)
        if tokens:
            try:
                return self._authenticator.principal([f"Bearer {token}" for token in tokens])
            except Problem:
                # A browser sends its cookie unasked, also long after it expired: without
                # a word, where no token is needed, it must not lock its owner out.
                if self._required:
                    raise
        if self._required:
            raise Problem(UNAUTHORIZED, "Event streams need a token, a cookie or a ticket.")
        return None

    async def _end_expired(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_INTERVAL_S)
            now = self._clock()
            expired = [listener for listener, at in self._expiring.items() if at <= now]
            for listener in expired:
                del self._expiring[listener]
                listener.send(sse.encode_retry())
                listener.finish()
            if expired:
                log.info("streams_expired", count=len(expired))


def cookies(fields: Sequence[str], name: str) -> list[str]:
    """The values of one cookie in the Cookie fields of a request (RFC 6265, section 4.2)."""
    pairs = (part.strip().partition("=") for field in fields for part in field.split(";"))
    return [value for key, _, value in pairs if key == name]


def _plain(headers: Any) -> bool:
    """Whether a request says nothing that this gate would look at."""
    return not ("authorization" in headers or "cookie" in headers or "origin" in headers)
