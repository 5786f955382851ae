"""Bearer tokens: who a request speaks for. Not where tokens come from, nor caching.

PyJWT checks signature, expiry and the registered claims; what it lets pass
(RFC 8725 asks for more) is checked here: the type, exact integers for times, a
bound on the lifetime, and a subject that is a user id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

ALGORITHM = "HS256"
ISSUER = "scoreboard"
AUDIENCE = "scoreboard"
SCOPE_ANY_USER = "scores:write:any"
MIN_SECRET_BYTES = 32
MAX_TOKEN_CHARS = 4096
MAX_LIFETIME_S = 400 * 24 * 3600
LEEWAY_S = 5


class InvalidToken(Exception):
    """The token proves nothing. The message is for the log, never for the client."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """Who a token speaks for: `subject` as given, and what it may do until `expires_s`."""

    subject: str
    scopes: frozenset[str]
    expires_s: int

    def may_update(self, user_id: int) -> bool:
        """Whether this principal may submit for the user."""
        return SCOPE_ANY_USER in self.scopes or self.subject == str(user_id)


def mint(
    secret: bytes, *, subject: str, now_s: int, ttl_s: int, scopes: tuple[str, ...] = ()
) -> str:
    """A token for `subject`, valid from `now_s` for `ttl_s` seconds."""
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "iat": now_s,
        "exp": now_s + ttl_s,
    }
    if scopes:
        claims["scope"] = " ".join(scopes)
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def verify(token: str, secret: bytes, *, now_s: float) -> Principal:
    """The principal of a valid token. Raises InvalidToken for every other text."""
    if len(token) > MAX_TOKEN_CHARS:
        raise InvalidToken("too long")
    try:
        decoded = jwt.decode_complete(
            token,
            secret,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            # The times are checked below against the caller's clock.
            options={
                "require": ["exp", "iat", "iss", "aud", "sub"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken(type(error).__name__) from error
    if decoded["header"].get("typ", "JWT") != "JWT":
        raise InvalidToken("typ")
    return _principal(decoded["payload"], now_s)


def _principal(claims: Mapping[str, Any], now_s: float) -> Principal:
    issued, expires = claims["iat"], claims["exp"]
    not_before = claims.get("nbf", issued)
    # bool is a subclass of int; a JSON true must not pass for the time 1.
    if any(type(value) is not int for value in (issued, expires, not_before)):
        raise InvalidToken("times must be integers")
    if expires + LEEWAY_S <= now_s:
        raise InvalidToken("expired")
    if max(issued, not_before) - LEEWAY_S > now_s:
        raise InvalidToken("not valid yet")
    if not 0 < expires - issued <= MAX_LIFETIME_S:
        raise InvalidToken("lifetime")
    subject = claims["sub"]
    if not (
        type(subject) is str
        and 0 < len(subject) <= 64
        and subject.isascii()
        and subject.isprintable()
    ):
        raise InvalidToken("sub")
    if claims["aud"] != AUDIENCE:
        raise InvalidToken("aud")
    scope = claims.get("scope", "")
    if type(scope) is not str:
        raise InvalidToken("scope")
    return Principal(subject=subject, scopes=frozenset(scope.split()), expires_s=expires)
