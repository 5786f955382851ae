"""Bearer tokens: who a request speaks for. Not where tokens come from, nor caching.

Takes access tokens as identity providers issue them (RFC 9068 and those older than it). PyJWT
checks the signature. Everything else is checked here, since it lets pass what RFC 8725 asks to
refuse: names given twice, other encodings than UTF-8, another type, a lifetime of decades.
"""

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.api_jws import decode_complete

from scoreboard.domain import MAX_PRINCIPAL_CHARS
from scoreboard.keys import SHARED_SECRET_ALGORITHM, Key, Keyring
from scoreboard.strict_json import strict_json

ISSUER = "scoreboard"
AUDIENCE = "scoreboard"
SCOPE_ANY_USER = "scores:write:any"
SCOPE_REVIEW = "scores:review"
SCOPE_PLAYERS = "scores:players"
SCOPE_OPERATE = "scores:operate"
SCOPES = (SCOPE_ANY_USER, SCOPE_REVIEW, SCOPE_PLAYERS, SCOPE_OPERATE)
MIN_SECRET_BYTES = 32
MAX_TOKEN_CHARS = 4096
MAX_LIFETIME_S = 400 * 24 * 3600
LEEWAY_S = 5


MAX_SUBJECT_CHARS = 255
_TIME_MAX_S = 2**40
_OTHER_KINDS = ("ID", "Refresh", "Offline", "Logout", "DPoP")
"""The claim `typ` of Keycloak's tokens that are no bearer tokens."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}")


@dataclass(frozen=True, kw_only=True)
class TokenPolicy:
    """What is asked of a token besides a signature. The defaults are those of our own tokens.

    `types` are lower-case values of `typ`. `user_claim` holds the user's id, `scope_claims` the
    scopes; each is a name or a path with dots.
    """

    issuers: frozenset[str] = frozenset({ISSUER})
    audiences: frozenset[str] = frozenset({AUDIENCE})
    types: frozenset[str] = frozenset({"jwt", "at+jwt"})
    user_claim: str = "sub"
    scope_claims: tuple[str, ...] = ("scope", "scp", "permissions")


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


def verify(
    token: str, keys: Keyring, *, now_s: float, policy: TokenPolicy = TokenPolicy()
) -> Principal:
    """The principal of a valid token. Raises InvalidToken for every other text."""
    if len(token) > MAX_TOKEN_CHARS or _COMPACT.fullmatch(token) is None:
        raise InvalidToken("form")
    try:
        header = _object(_decoded(token.partition(".")[0]))
        candidates = keys.candidates(header.get("kid"), header.get("alg"))
        if not candidates:
            raise UnknownKey("no key for this kid and alg")
        key, payload = _proved(token, candidates)
        claims = _object(payload)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken(type(error).__name__) from error
    kind = header.get("typ", "JWT")
    if type(kind) is not str or kind.lower().removeprefix("application/") not in policy.types:
        raise InvalidToken("typ")
    # "crit" says "refuse this if you do not know it", and nothing here knows an extension.
    if "crit" in header or "b64" in header:
        raise InvalidToken("crit")
    issuer = claims.get("iss")
    if key.algorithm == SHARED_SECRET_ALGORITHM and issuer == ISSUER:
        # Whoever has the secret is this system: `scoreboard token` needs no settings.
        policy = TokenPolicy()
    issuers = policy.issuers if key.issuers is None else key.issuers
    if type(issuer) is not str or issuer not in issuers:
        raise InvalidToken("iss")
    _check_audience(claims, policy.audiences)
    return Principal(
        subject=_subject(claims, policy.user_claim),
        scopes=_scopes(claims, policy.scope_claims),
        expires_s=_end_s(claims, now_s),
    )


def _decoded(part: str) -> bytes:
    """A part of a token. Raises ValueError for anything but the one text that its bytes have."""
    raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise ValueError("another spelling of the same bytes")
    return raw


def _object(text: bytes) -> dict[str, Any]:
    """A JSON object whose names are unique at every depth (RFC 7519, section 4)."""
    value = strict_json(text)
    if type(value) is not dict:
        raise TypeError("not an object")
    return value


def _proved(token: str, candidates: list[Key]) -> tuple[Key, bytes]:
    """The key that proves the token, and the claims as text. Raises PyJWTError."""
    for part in token.split("."):
        _decoded(part)
    for number, key in enumerate(candidates, start=1):
        try:
            decoded = decode_complete(token, key.material, algorithms=[key.algorithm])
        except jwt.InvalidSignatureError:
            if number == len(candidates):
                raise
        else:
            return key, decoded["payload"]
    raise jwt.InvalidSignatureError


def _check_audience(claims: Mapping[str, Any], audiences: frozenset[str]) -> None:
    """Also refuses what its issuer marks as another kind of token (RFC 8725, section 3.12)."""
    if claims.get("token_use", "access") != "access" or claims.get("typ") in _OTHER_KINDS:
        raise InvalidToken("kind")
    # Bound to its sender (RFC 9449, RFC 8705), which a bare bearer has not proved to be.
    if "cnf" in claims:
        raise InvalidToken("bound")
    named = claims.get("aud")
    if "aud" not in claims and "token_use" in claims:
        # Amazon Cognito's access tokens name the client instead.
        named = claims.get("client_id")
    listed = named if type(named) is list else [named]
    if not all(type(each) is str for each in listed) or audiences.isdisjoint(listed):
        raise InvalidToken("aud")


def _end_s(claims: Mapping[str, Any], now_s: float) -> int:
    """When the token expires, rounded up. Raises InvalidToken unless it is valid now."""
    expires = _time(claims, "exp")
    if expires is None:
        raise InvalidToken("no exp")
    issued = _time(claims, "iat")
    begins = [each for each in (issued, _time(claims, "nbf")) if each is not None]
    if expires + LEEWAY_S <= now_s:
        raise InvalidToken("expired")
    if max(begins, default=now_s) - LEEWAY_S > now_s:
        raise InvalidToken("not valid yet")
    if issued is not None and expires <= issued:
        raise InvalidToken("lifetime")
    if expires - (now_s if issued is None else issued) > MAX_LIFETIME_S:
        raise InvalidToken("lifetime")
    return math.ceil(expires)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519, section 2), which may have a fraction; None when it is missing."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    # bool is a subclass of int; a JSON true must not pass for the time 1.
    if value is None or type(value) not in (int, float) or not 0 <= value <= _TIME_MAX_S:
        raise InvalidToken("times must be numbers")
    return float(value)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by its path, like `realm_access.roles`; None when it is missing."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        if type(value) is not dict or part not in value:
            return None
        value = value[part]
    return value


def _subject(claims: Mapping[str, Any], user_claim: str) -> str:
    subject = claims.get("sub")
    if user_claim != "sub":
        user = _claim(claims, user_claim)
        if user is None:
            # A service without a user: its own subject must not pass for one.
            subject = f"sub:{subject}" if type(subject) is str and subject else None
        else:
            subject = str(user) if type(user) is int else user
    if not (
        type(subject) is str
        and 0 < len(subject) <= MAX_SUBJECT_CHARS
        and subject.isascii()
        and subject.isprintable()
    ):
        raise InvalidToken("sub")
    if len(subject) > MAX_PRINCIPAL_CHARS:
        # OpenID Connect allows 255. No user's id is so long, so nothing but its identity counts.
        digest = hashlib.blake2b(subject.encode(), digest_size=24).hexdigest()
        return f"sha:{digest}"
    return subject


def _scopes(claims: Mapping[str, Any], names: tuple[str, ...]) -> frozenset[str]:
    """All scopes, whether as text with blanks between them or as a list."""
    found: set[str] = set()
    for name in names:
        value = _claim(claims, name)
        if value is None and name not in claims:
            continue
        listed = value.split(" ") if type(value) is str else value
        if type(listed) is not list or not all(type(each) is str for each in listed):
            raise InvalidToken("scope")
        found.update(listed)
    return frozenset(found - {""})
