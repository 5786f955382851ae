"""From a request to submissions: who asks, for what, under which name. Starts nothing.

In order: token, body, whose score, signature, name. The name decides what a
repetition is: the client's Idempotency-Key, else the signature's key and nonce,
else a new one for each request.
"""

import os
import time
from typing import Annotated

import msgspec
from sanic.request import Request

from scoreboard import contract, ids
from scoreboard.domain import MAX_INCREMENT, MAX_USER_ID, Submission
from scoreboard.errors import FORBIDDEN, INVALID, MALFORMED, TOO_LARGE, Problem
from scoreboard.tokens import Principal
from server.auth.bearer import Authenticator
from server.auth.signatures import Signatures
from server.submit.body import MAX_BODY_BYTES, Update, check_media_type, parse_update

MAX_BATCH_BODY_BYTES = 96 * 1024
MAX_ITEMS = 500


class BatchItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One submission of POST /scores/updates; `key` is what Idempotency-Key is for a single one."""

    user_id: Annotated[int, msgspec.Meta(ge=1, le=MAX_USER_ID)]
    increment: Annotated[int, msgspec.Meta(ge=-MAX_INCREMENT, le=MAX_INCREMENT)]
    key: str | None = None


_batch_decoder = msgspec.json.Decoder(
    Annotated[list[BatchItem], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]
)


class ParsedSubmission(msgspec.Struct, frozen=True):
    """A submission, and whether its client named it."""

    submission: Submission
    keyed: bool


class SubmissionParser:
    """Reads requests that submit."""

    def __init__(self, authenticator: Authenticator, signatures: Signatures) -> None:
        self._authenticator = authenticator
        self._signatures = signatures

    def principal(self, request: Request) -> Principal:
        """Who a request speaks for. Raises Problem."""
        return self._authenticator.principal(request.headers.getall("authorization", ()))

    def is_plain(self, request: Request) -> bool:
        """Whether nothing decides about the request but its token, body and Idempotency-Key."""
        return not self._signatures.concern(request.headers)

    def one(self, request: Request) -> ParsedSubmission:
        """The submission of POST /scores/update. Raises Problem."""
        principal = self.principal(request)
        if len(request.body) > MAX_BODY_BYTES:
            raise Problem(TOO_LARGE, "The request is too large.")
        keys = request.headers.getall("idempotency-key", ())
        key = contract.parse_idempotency_key(keys[0]) if len(keys) == 1 else None
        if keys and key is None:
            raise Problem(
                MALFORMED, "Idempotency-Key must be one of 1 to 128 visible ASCII characters."
            )
        update = parse_update(request.headers.get("content-type", ""), request.body)
        _may_update(principal, update.user_id)
        signed = self._signed(request, principal)
        return _asked(principal, update, key if key is not None else signed)

    def many(self, request: Request) -> list[ParsedSubmission | Problem]:
        """The submissions of POST /scores/updates, or what is wrong with one, in order.

        Raises Problem when the request as a whole cannot be taken.
        """
        principal = self.principal(request)
        check_media_type(request.headers.get("content-type", ""))
        try:
            items = _batch_decoder.decode(request.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Problem(
                INVALID,
                f"The body must be a list of 1 to {MAX_ITEMS} items"
                ' {"userId": …, "increment": …} with an optional "key".',
            ) from None
        signed = self._signed(request, principal)
        return [
            self._item(principal, item, None if signed is None else f"{signed}:{index}")
            for index, item in enumerate(items)
        ]

    def _item(self, principal: Principal, item: BatchItem, signed: str | None) -> ParsedSubmission | Problem:
        try:
            _may_update(principal, item.user_id)
            if item.increment == 0:
                raise Problem(INVALID, "An increment is not 0.")
            key = None if item.key is None else contract.parse_idempotency_key(item.key)
            if item.key is not None and key is None:
                raise Problem(INVALID, "A key has 1 to 128 visible ASCII characters.")
        except Problem as problem:
            return problem
        update = Update(user_id=item.user_id, increment=item.increment)
        return _asked(principal, update, key if key is not None else signed)

    def _signed(self, request: Request, principal: Principal) -> str | None:
        """The name that a signature gives the request. Raises Problem."""
        if not self._signatures.concern(request.headers):
            return None
        name = self._signatures.check(
            method=request.method,
            url=request.url,
            headers={name: ", ".join(request.headers.getall(name)) for name in request.headers},
            body=request.body,
            principal=principal,
        )
        return None if name is None else f"signature:{name}"


def _may_update(principal: Principal, user_id: int) -> None:
    if not principal.may_update(user_id):
        raise Problem(FORBIDDEN, "This token may not update that user.")


def _asked(principal: Principal, update: Update, key: str | None) -> ParsedSubmission:
    now_us = time.time_ns() // 1000
    submission = Submission(
        id=(
            ids.keyed_submission_id(principal.subject, key)
            if key is not None
            else ids.time_ordered_id(now_us // 1000, os.urandom(10))
        ),
        principal=principal.subject,
        user_id=update.user_id,
        increment=update.increment,
        received_us=now_us,
    )
    return ParsedSubmission(submission, key is not None)
