"""Single-use tickets that a page puts into the address of an event stream.

EventSource cannot send headers, and a token in an address ends up in logs and
histories. A ticket opens one stream within half a minute. Redis stores only its
digest, so neither an address in a log nor a dump of Redis is of use.
"""

import hashlib
import secrets
from typing import Any

import msgspec
import structlog

from adapters.files import script
from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS, Redis
from scoreboard import contract
from scoreboard.errors import RATE_LIMITED, UNAUTHORIZED, UNAVAILABLE, Problem
from scoreboard.tokens import Principal

log = structlog.get_logger()

EXPIRES_S = 30
TICKET_BYTES = 24
MAX_TICKET_CHARS = 64
TICKETS_MAX = 100
"""Per subject at a time, so that one token cannot fill Redis."""


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    subject: str
    scopes: list[str]
    expires_s: int


class Tickets:
    """Issues tickets and redeems each once, in any API process."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = redis.register_script(script(__package__, "ticket"))

    async def issue(self, principal: Principal) -> str:
        """A ticket for `principal`, valid for EXPIRES_S. Raises Problem."""
        ticket = secrets.token_urlsafe(TICKET_BYTES)
        stored = _Stored(principal.subject, sorted(principal.scopes), principal.expires_s)
        try:
            issued = await self._script(
                keys=(contract.TICKETS_PREFIX + principal.subject, _key(ticket)),
                args=(TICKETS_MAX, EXPIRES_S, msgspec.msgpack.encode(stored)),
            )
        except REDIS_ERRORS as error:
            raise _unavailable(error) from None
        if not issued:
            raise Problem(RATE_LIMITED, "Too many tickets for this user.", retry_after_s=EXPIRES_S)
        return ticket

    async def redeem(self, ticket: str) -> Principal:
        """The ticket's principal; the ticket is spent afterwards. Raises Problem."""
        if len(ticket) > MAX_TICKET_CHARS or not ticket.isascii():
            raise Problem(UNAUTHORIZED, "The ticket is not valid.")
        try:
            found: Any = await self._redis.getdel(_key(ticket))
        except REDIS_ERRORS as error:
            raise _unavailable(error) from None
        if found is None:
            raise Problem(UNAUTHORIZED, "The ticket is not valid.")
        stored = msgspec.msgpack.decode(found, type=_Stored)
        return Principal(
            subject=stored.subject, scopes=frozenset(stored.scopes), expires_s=stored.expires_s
        )


def _key(ticket: str) -> str:
    digest = hashlib.blake2b(ticket.encode(), digest_size=16, person=b"ticket").hexdigest()
    return contract.TICKET_PREFIX + digest


def _unavailable(error: Exception) -> Problem:
    log.warning("tickets_without_redis", error=reason_of(error))
    return Problem(UNAVAILABLE, "Tickets are unavailable.", retry_after_s=1)
