"""Bearer tokens of requests, verified once and remembered until they expire.

Not what makes a token valid: see `scoreboard.tokens`.
"""

import hashlib
from collections.abc import Callable, Sequence

import structlog

from scoreboard.errors import UNAUTHORIZED, Problem
from scoreboard.keys import Keyring
from scoreboard.tokens import (
    LEEWAY_S,
    InvalidToken,
    Principal,
    TokenPolicy,
    UnknownKey,
    verify,
)

log = structlog.get_logger()

CACHE_MAX = 10_000
"""About 4 MiB. Beyond it the oldest entry is dropped."""


class Authenticator:
    """Verifies tokens. Only valid tokens are cached, by digest: a memory dump holds no
    usable token for longer than its request.
    """

    def __init__(
        self,
        keys: Keyring,
        *,
        clock: Callable[[], float],
        policy: TokenPolicy | None = None,
        on_unknown_key: Callable[[], None] = lambda: None,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._policy = policy or TokenPolicy()
        self._on_unknown_key = on_unknown_key
        self._known: dict[bytes, Principal] = {}

    def replace_keys(self, keys: Keyring) -> None:
        """Verify with `keys` from now on; principals verified with older keys are forgotten."""
        self._keys = keys
        self._known.clear()

    def principal(self, authorization: Sequence[str]) -> Principal:
        """The principal named by the request's Authorization fields.

        Raises Problem (unauthorized) unless there is one field with a valid token.
        """
        if len(authorization) != 1:
            raise Problem(UNAUTHORIZED, "Send one Authorization header with a bearer token.")
        scheme, _, token = authorization[0].partition(" ")
        if scheme.lower() != "bearer" or not token or not token.isascii():
            raise Problem(UNAUTHORIZED, "Send one Authorization header with a bearer token.")
        now_s = self._clock()
        digest = _digest(token)
        return self._remembered(digest, now_s) or self._verified(token, digest, now_s)

    def verified_principal(self, token: str) -> Principal | None:
        """The principal of a bare token; None for an invalid one, whose fault `principal` names."""
        now_s = self._clock()
        digest = _digest(token)
        principal = self._remembered(digest, now_s)
        if principal is not None:
            return principal
        try:
            return self._verified(token, digest, now_s)
        except Problem:
            return None

    def _remembered(self, digest: bytes, now_s: float) -> Principal | None:
        principal = self._known.get(digest)
        if principal is None or now_s >= principal.expires_s + LEEWAY_S:
            return None
        return principal

    def _verified(self, token: str, digest: bytes, now_s: float) -> Principal:
        self._known.pop(digest, None)
        try:
            principal = verify(token, self._keys, now_s=now_s, policy=self._policy)
        except InvalidToken as error:
            if isinstance(error, UnknownKey):
                self._on_unknown_key()
            log.debug("token_refused", reason=str(error))
            raise Problem(UNAUTHORIZED, "The bearer token is not valid.") from None
        if len(self._known) >= CACHE_MAX:
            del self._known[next(iter(self._known))]
        self._known[digest] = principal
        return principal


def _digest(token: str) -> bytes:
    return hashlib.blake2b(token.encode(), digest_size=16).digest()
