"""Reads Sanic's requests: principal, signature and submissions. Starts nothing.

What a single submission must look like is decided by `submission`, for this and the fast path.
The submission's name decides what a repeat is: the client's Idempotency-Key, of a signed request
within its signing key, else that key's nonce, else a new id for each request.
"""

import time
from typing import Annotated, Any

import msgspec
from sanic.request import Request

from scoreboard import contract
from scoreboard.domain import MAX_INCREMENT, MAX_USER_ID
from scoreboard.errors import INVALID, Problem
from scoreboard.strict_json import strict_json
from scoreboard.tokens import Principal
from server.auth.bearer import Authenticator
from server.auth.signatures import Signatures, Signed, SignedMessage
from server.submit.body import check_media_type
from server.submit.submission import (
    NewIds,
    ParsedSubmission,
    named_submission,
    parse_submission,
    require_permission,
)

MAX_BATCH_BODY_BYTES = 96 * 1024
MAX_ITEMS = 500


class BatchItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One submission of POST /scores/updates; `key` is what Idempotency-Key is for a single one."""

    user_id: Annotated[int, msgspec.Meta(ge=1, le=MAX_USER_ID)]
    increment: Annotated[int, msgspec.Meta(ge=-MAX_INCREMENT, le=MAX_INCREMENT)]
    key: str | None = None


batch_decoder = msgspec.json.Decoder(
    Annotated[list[BatchItem], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]
)


class SubmissionParser:
    """Parses the requests that submit."""

    def __init__(
        self, authenticator: Authenticator, signatures: Signatures, new_id: NewIds
    ) -> None:
        self._authenticator = authenticator
        self._signatures = signatures
        self._new_id = new_id

    def principal(self, request: Request) -> Principal:
        """Who a request speaks for. Raises Problem."""
        principal = self._authenticator.principal(request.headers.getall("authorization", ()))
        # Whom a refusal counts for.
        request.ctx.principal = principal.subject
        return principal

    def is_plain(self, request: Request) -> bool:
        """Whether only its token, body and Idempotency-Key decide about the request."""
        return not self._signatures.concern(request.headers)

    def one(self, request: Request, principal: Principal) -> ParsedSubmission:
        """The submission of POST /scores/update. Raises Problem."""
        return parse_submission(
            principal,
            request.headers.getall("idempotency-key", ()),
            request.headers.get("content-type", ""),
            request.body,
            time.time_ns() // 1000,
            self._new_id,
            signed=lambda: self._signed(request, principal),
        )

    def many(self, request: Request, principal: Principal) -> list[ParsedSubmission | Problem]:
        """The submissions of POST /scores/updates in order; a Problem in place of a refused one.

        Raises Problem when the request as a whole is refused.
        """
        check_media_type(request.headers.get("content-type", ""))
        try:
            items = parse_batch(request.body)
        except (ValueError, RecursionError):
            raise Problem(
                INVALID,
                f"The body must be a list of 1 to {MAX_ITEMS} items"
                ' {"userId": …, "increment": …} with an optional "key".',
            ) from None
        signed = self._signed(request, principal)
        return [
            self._item(principal, item, signed, number)
            for number, item in enumerate(items, start=1)
        ]

    def _item(
        self, principal: Principal, item: BatchItem, signed: Signed | None, number: int
    ) -> ParsedSubmission | Problem:
        try:
            require_permission(principal, item.user_id)
            if item.increment == 0:
                raise Problem(INVALID, "An increment must not be 0.")
            key = None if item.key is None else contract.parse_idempotency_key(item.key)
            if item.key is not None and key is None:
                raise Problem(INVALID, "A key has 1 to 128 visible ASCII characters.")
        except Problem as problem:
            return problem
        return named_submission(
            principal,
            item.user_id,
            item.increment,
            key,
            time.time_ns() // 1000,
            self._new_id,
            signed,
            number,
        )

    def _signed(self, request: Request, principal: Principal) -> Signed | None:
        """What names the request by its signature. Raises Problem."""
        if not self._signatures.concern(request.headers):
            return None
        headers = request.headers
        transport: Any = request.transport
        local = transport.get_extra_info("sockname")
        message = SignedMessage.of(
            request.method,
            headers.get("host", ""),
            request.raw_url.decode("ascii"),
            {name: ", ".join(headers.getall(name)) for name in headers},
        )
        return self._signatures.check(
            message,
            body=request.body,
            principal=principal,
            local=local[:2] if isinstance(local, tuple) else None,
        )


def parse_batch(body: bytes) -> list[BatchItem]:
    """The items of a batch. Raises ValueError or RecursionError for anything else.

    The decoder lets a name given twice pass. Without escapes each item has a colon for each of its
    members and those in its key; more of them make the body be read once again, strictly.
    """
    items: list[BatchItem] = batch_decoder.decode(body)
    expected = sum(2 if i.key is None else 3 + i.key.count(":") for i in items)
    if b"\\" in body or body.count(b":") != expected:
        strict_json(body)
    return items
