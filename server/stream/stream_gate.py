"""Who may open an event stream: allowed origin, valid token, connection limits.

A token comes in the Authorization header, in the cookie `scoreboard_token` or as
a single-use ticket. A listener's stream ends when its token expires. Not what a
stream contains: see `hub`.

Without further limits an anonymous listener costs a few look-ups: no task and no call.
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
from server.stream.client_ip import Proxies
from server.stream.leases import Claim, Leases
from server.stream.listener import Listener
from server.stream.tickets import EXPIRES_S, Tickets
from server.submit.fair_queue import Shares

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
    """A stream that may open, and what to release after it: claims, and a place of an address."""

    __slots__ = ("_gate", "address", "claims", "principal")

    def __init__(self, gate: "StreamGate", address: str | None) -> None:
        self._gate = gate
        self.address = address
        self.principal: Principal | None = None
        self.claims: Sequence[Claim] = ()

    def opened(self, listener: Listener) -> None:
        """The stream is open; what it holds is released when it ends."""
        self._gate.watch(listener, self)

    def failed(self) -> None:
        """The stream did not open: release what it holds."""
        self._gate.give_back(self)


class StreamGate:
    """Checks every request for a stream before the hub sees it."""

    def __init__(
        self,
        settings: ServerSettings,
        authenticator: Authenticator,
        redis: Redis,
        origins: Origins,
        proxies: Proxies,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._required = settings.stream_auth_required
        self._per_address = settings.streams_per_address
        self._per_user = settings.streams_per_user
        self._proxies = proxies
        self._origins = origins
        self._tickets = Tickets(redis)
        self._leases = Leases(redis, clock=time.monotonic, lease_s=settings.stream_lease_s)
        self._places = Shares(settings.listeners_max)
        self._expiring: dict[Listener, float] = {}
        # Only an origin, or a token that was sent, can then keep an anonymous listener out.
        self._open = not self._required and not self._per_address

    def background(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """Runs as long as the process: renews leases, ends streams whose token has expired."""
        return [self._leases.run, self._end_expired]

    async def enter(self, request: Request, arguments: Mapping[str, Sequence[str]]) -> Entry | None:
        """What to hold while the stream is open; None when there is nothing. Raises Problem."""
        headers = request.headers
        tickets = arguments["ticket"] if "ticket" in arguments else ()  # noqa: SIM401
        address = self._proxies.foreign_address(request.ip, headers)
        if self._open and not tickets and _plain(headers):
            return None if address is None else self._with_place(address)
        self.check_origin(request)
        principal = await self._principal(headers, tickets)
        claims = []
        if self._per_address:
            counted = self._proxies.client_address(request.ip, headers)
            claims.append(Claim(_ADDRESS + counted, self._per_address))
        if self._per_user and principal is not None:
            claims.append(Claim(_USER + principal.subject, self._per_user))
        entry = self._with_place(address)
        entry.principal = principal
        if claims:
            try:
                full = await self._leases.acquire(claims)
            except BaseException:
                self.give_back(entry)
                raise
            if full is not None:
                self.give_back(entry)
                whose = "address" if full.holder.startswith(_ADDRESS) else "user"
                raise Problem(
                    TOO_MANY_STREAMS,
                    f"This {whose} has reached its limit of event streams.",
                    retry_after_s=RETRY_AFTER_S,
                )
            entry.claims = claims
        return entry

    def _with_place(self, address: str | None) -> Entry:
        """An entry with a place for the address, of which it holds no more than are still free.

        Raises Problem. When no place is free at all, the hub refuses: that is not its excess.
        """
        if address is not None and not self._places.full:
            if not self._places.may_take(address):
                raise Problem(
                    TOO_MANY_STREAMS,
                    "This address has as many event streams as are left for all others.",
                    retry_after_s=RETRY_AFTER_S,
                )
            self._places.take(address)
            return Entry(self, address)
        return Entry(self, None)

    def watch(self, listener: Listener, entry: Entry) -> None:
        """End the stream when its token expires; release what the entry holds when it has ended."""
        if entry.principal is not None:
            # With the leeway of the check: a token that can still open streams ends none.
            self._expiring[listener] = entry.principal.expires_s + LEEWAY_S

        def gone() -> None:
            self._expiring.pop(listener, None)
            self.give_back(entry)

        listener.on_closed = gone

    def give_back(self, entry: Entry) -> None:
        """The entry's stream has ended: release what it held."""
        if entry.claims:
            self._leases.release(entry.claims)
        if entry.address is not None:
            self._places.give_back(entry.address, 1)

    async def issue_ticket(self, request: Request) -> Ticket:
        """A ticket for the token's subject. Raises Problem."""
        self.check_origin(request)
        principal = self._authenticator.principal(request.headers.getall("authorization", ()))
        return Ticket(ticket=await self._tickets.issue(principal))

    def check_origin(self, request: Request) -> None:
        """Raises Problem (forbidden) for a page of a foreign origin."""
        headers = request.headers
        self._origins.check(
            headers.getall("origin", ()),
            headers.get("host", ""),
            same_origin=headers.getall("sec-fetch-site", ()) == ["same-origin"],
        )

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
                # Browsers send cookies unasked, even expired ones: ignore an invalid cookie
                # when authentication is optional.
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
    """Whether a request has none of the headers that the gate checks."""
    return not ("authorization" in headers or "cookie" in headers or "origin" in headers)
