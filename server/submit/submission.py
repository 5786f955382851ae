"""The one way from principal, key and body to a `Submission`, for the fast and the slow path.

Not who the principal is (see `auth`), nor where key and body stand in a request:
`submission_parser` reads Sanic's requests, `http.fast_path` raw bytes. Pure, except that
`NewIds` draws random numbers.
"""

import os
from collections.abc import Callable, Sequence

import msgspec

from scoreboard import contract, ids
from scoreboard.domain import Submission
from scoreboard.errors import FORBIDDEN, MALFORMED, TOO_LARGE, Problem
from scoreboard.tokens import Principal
from server.auth.signatures import Signed
from server.submit.body import MAX_BODY_BYTES, parse_update

_RANDOM_BYTES = 10
_RANDOM_AT_ONCE = 4096


class ParsedSubmission(msgspec.Struct, frozen=True, gc=False):
    """A submission, and whether its client named it."""

    submission: Submission
    keyed: bool


class NewIds:
    """Ids for submissions without a name; one system call serves hundreds of them."""

    def __init__(self) -> None:
        self._random = b""
        self._used = 0

    def __call__(self, now_us: int) -> bytes:
        """A time-ordered id that no other submission has."""
        start = self._used
        if start + _RANDOM_BYTES > len(self._random):
            self._random, start = os.urandom(_RANDOM_AT_ONCE), 0
        self._used = start + _RANDOM_BYTES
        return ids.time_ordered_id(now_us // 1000, self._random[start : self._used])


def parse_submission(
    principal: Principal,
    keys: Sequence[str],
    content_type: str,
    body: bytes,
    now_us: int,
    new_id: Callable[[int], bytes],
    *,
    signed: Callable[[], Signed | None] | None = None,
) -> ParsedSubmission:
    """The submission of one request. Raises Problem.

    Checks in this order: size, Idempotency-Key (`keys` are the fields of that name), body,
    permission, signature. `signed` verifies the signature and returns what it names.
    """
    if len(body) > MAX_BODY_BYTES:
        raise Problem(TOO_LARGE, "The request is too large.")
    key = None
    if keys:
        key = contract.parse_idempotency_key(keys[0]) if len(keys) == 1 else None
        if key is None:
            raise Problem(
                MALFORMED, "Idempotency-Key must be one of 1 to 128 visible ASCII characters."
            )
    update = parse_update(content_type, body)
    require_permission(principal, update.user_id)
    signature = None if signed is None else signed()
    return named_submission(
        principal, update.user_id, update.increment, key, now_us, new_id, signature
    )


def named_submission(
    principal: Principal,
    user_id: int,
    increment: int,
    key: str | None,
    now_us: int,
    new_id: Callable[[int], bytes],
    signed: Signed | None = None,
    number: int = 0,
) -> ParsedSubmission:
    """A checked submission under its id: the same for the same principal and key.

    Of a signed request: the same for the same signed bytes, whoever sends them; `number` is its
    place in them.
    """
    subject = namespace = principal.subject
    if signed is not None:
        namespace, key = signed.namespace, signed.name(user_id, key, number)
    return ParsedSubmission(
        Submission(
            id=new_id(now_us) if key is None else ids.keyed_submission_id(namespace, key),
            principal=subject,
            user_id=user_id,
            increment=increment,
            received_us=now_us,
        ),
        key is not None,
    )


def require_permission(principal: Principal, user_id: int) -> None:
    """Raises Problem (forbidden) unless the principal may update that user."""
    if not principal.may_update(user_id):
        raise Problem(FORBIDDEN, "This token may not update that user.")
