"""Bearer tokens: who a request speaks for. Not where tokens come from, nor caching.

PyJWT checks algorithm and signature. The claims are checked here, since it lets
pass what RFC 8725 asks to refuse: names given twice, other encodings than UTF-8,
another type, times that are no integers, a lifetime of decades, a list of audiences.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.api_jws import decode_complete, get_unverified_header

from scoreboard.domain import MAX_PRINCIPAL_CHARS
from scoreboard.keys import SHARED_SECRET_ALGORITHM, Keyring

ISSUER = "scoreboard"
AUDIENCE = "scoreboard"
SCOPE_ANY_USER = "scores:write:any"
SCOPE_REVIEW = "scores:review"
SCOPE_OPERATE = "scores:operate"
MIN_SECRET_BYTES = 32
MAX_TOKEN_CHARS = 4096
MAX_LIFETIME_S = 400 * 24 * 3600
LEEWAY_S = 5


class InvalidToken(Exception):
    """The token proves nothing. The message is for the log, never for the client."""


class UnknownKey(InvalidToken):
    """The token names a key that is not in the keyring: a newer document may have it."""


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
    """A token for `subject`, valid from `now_s` for `ttl_s` seconds, signed with HS256."""
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "iat": now_s,
        "exp": now_s + ttl_s,
    }
    if scopes:
        claims["scope"] = " ".join(scopes)
    return jwt.encode(claims, secret, algorithm=SHARED_SECRET_ALGORITHM)


def verify(token: str, keys: Keyring, *, now_s: float) -> Principal:
    """The principal of a valid token. Raises InvalidToken for every other text."""
    if len(token) > MAX_TOKEN_CHARS:
        raise InvalidToken("too long")
    try:
        named = get_unverified_header(token)
        key = keys.find(named.get("kid"))
        if key is None or named.get("alg") != key.algorithm:
            raise UnknownKey("no key for this kid and alg")
        decoded = decode_complete(token, key.material, algorithms=[key.algorithm])
        claims = _strict_object(decoded["payload"])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken(type(error).__name__) from error
    header = decoded["header"]
    if header.get("typ", "JWT") != "JWT":
        raise InvalidToken("typ")
    # "crit" says "refuse this if you do not know it", and nothing here knows an extension.
    if "crit" in header or "b64" in header:
        raise InvalidToken("crit")
    return _principal(claims, now_s)


def _strict_object(text: bytes) -> dict[str, Any]:
    """A JSON object whose names are unique at every depth (RFC 7519, section 4)."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice")
        return found

    # Decoded by hand: json.loads would take UTF-16 bytes too.
    value = json.loads(text.decode(), object_pairs_hook=unique)
    if type(value) is not dict:
        raise TypeError("not an object")
    return value


def _principal(claims: Mapping[str, Any], now_s: float) -> Principal:
    if claims.get("iss") != ISSUER:
        raise InvalidToken("iss")
    if claims.get("aud") != AUDIENCE:
        raise InvalidToken("aud")
    issued, expires = claims.get("iat"), claims.get("exp")
    not_before = claims.get("nbf", issued)
    # bool is a subclass of int; a JSON true must not pass for the time 1.
    if type(issued) is not int or type(expires) is not int or type(not_before) is not int:
        raise InvalidToken("times must be integers")
    if expires + LEEWAY_S <= now_s:
        raise InvalidToken("expired")
    if max(issued, not_before) - LEEWAY_S > now_s:
        raise InvalidToken("not valid yet")
    if not 0 < expires - issued <= MAX_LIFETIME_S:
        raise InvalidToken("lifetime")
    subject = claims.get("sub")
    if not (
        type(subject) is str
        and 0 < len(subject) <= MAX_PRINCIPAL_CHARS
        and subject.isascii()
        and subject.isprintable()
    ):
        raise InvalidToken("sub")
    scope = claims.get("scope", "")
    if type(scope) is not str:
        raise InvalidToken("scope")
    return Principal(subject=subject, scopes=frozenset(scope.split(" ")) - {""}, expires_s=expires)
