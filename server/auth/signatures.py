"""Checks signed requests (RFC 9421) against the keys of a file. Signing is `scoreboard.signing`.

A signature comes on top of the token: its key must be one for the token's
subject. The nonce names the submission when the client gave no Idempotency-Key,
so the same bytes sent again are the same submission: first answer, no effect.
"""

import base64
import binascii
import datetime
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import http_sf
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver
from http_message_signatures.exceptions import HTTPMessageSignaturesException, InvalidSignature

from adapters.reasons import reason_of
from scoreboard.errors import UNAUTHORIZED, Problem
from scoreboard.signing import ALGORITHMS, COVERED, ED25519, HMAC_SHA256, IDEMPOTENCY_KEY, TAG
from scoreboard.tokens import MIN_SECRET_BYTES, SCOPE_ANY_USER, Principal

log = structlog.get_logger()

MAX_AGE = datetime.timedelta(seconds=300)
MAX_NONCE_CHARS = 128
MAX_FIELD_CHARS = 2048
ANY_SUBJECT = "*"


class SignatureKeysError(Exception):
    """The key file is unusable; the message names the key and the fault, never a secret."""


class _KeyEntry(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    algorithm: str
    key: str
    subjects: list[str]


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[_KeyEntry]


@dataclass(frozen=True, kw_only=True)
class VerificationKey:
    """A key and the token subjects it may sign for; `*` means all."""

    algorithm: str
    subjects: frozenset[str]
    material: Any = field(repr=False)


def load_keys(path: str) -> dict[str, VerificationKey]:
    """The keys of a file by id. Raises SignatureKeysError.

    The file: `{"keys":[{"id":"game-1","algorithm":"hmac-sha256","key":"<base64>",
    "subjects":["1"]}]}`; for `ed25519` the key is the raw public key.
    """
    try:
        entries = msgspec.json.decode(Path(path).read_bytes(), type=_KeyFile).keys
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SignatureKeysError(f"the file cannot be read: {reason_of(error)}") from error
    keys = {entry.id: _key(entry) for entry in entries}
    if len(keys) != len(entries) or not keys:
        raise SignatureKeysError("the file needs at least one key, each with an id of its own")
    return keys


def _key(entry: _KeyEntry) -> VerificationKey:
    try:
        raw = base64.b64decode(entry.key, validate=True)
        if entry.algorithm == HMAC_SHA256 and len(raw) >= MIN_SECRET_BYTES:
            material: Any = raw
        elif entry.algorithm == ED25519:
            material = Ed25519PublicKey.from_public_bytes(raw)
        else:
            raise ValueError
    except (binascii.Error, ValueError):
        raise SignatureKeysError(
            f"key {entry.id!r} must be ed25519, or hmac-sha256 with at least"
            f" {MIN_SECRET_BYTES} bytes, in base64"
        ) from None
    return VerificationKey(
        algorithm=entry.algorithm, subjects=frozenset(entry.subjects), material=material
    )


class _Resolver(HTTPSignatureKeyResolver):
    def __init__(self, key: VerificationKey) -> None:
        self._key = key

    def resolve_public_key(self, key_id: str) -> Any:  # noqa: ARG002
        return self._key.material


class Signatures:
    """The server's policy: the known keys, and whether signatures are required."""

    def __init__(self, keys: Mapping[str, VerificationKey], *, required: bool) -> None:
        self._keys = keys
        self._required = required

    def concern(self, headers: Container[str]) -> bool:
        """Whether a request with these header names is signed, or must be."""
        return self._required or "signature" in headers or "signature-input" in headers

    def check(
        self,
        *,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        principal: Principal,
    ) -> str | None:
        """The request's own name, `<key id>:<nonce>`, or None when it is not signed.

        `headers` have lower-case names; repeated fields are joined with ", ".
        Raises Problem (unauthorized) when the signature is invalid, too old, made with
        a key for other subjects, or missing although required.
        """
        if "signature" not in headers and "signature-input" not in headers:
            if self._required:
                raise Problem(UNAUTHORIZED, "This server requires signed requests (RFC 9421).")
            return None
        try:
            return self._verified(method, url, headers, body, principal)
        except (HTTPMessageSignaturesException, ValueError, TypeError, KeyError) as error:
            log.debug("signature_refused", reason=reason_of(error))
            raise Problem(UNAUTHORIZED, "The request's signature is not valid.") from None

    def _verified(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        principal: Principal,
    ) -> str:
        key_id = _key_id(headers["signature-input"])
        key = self._keys[key_id]
        if not _may_sign_for(key, principal):
            raise InvalidSignature("a key for other subjects")
        verifier = HTTPMessageVerifier(
            signature_algorithm=ALGORITHMS[key.algorithm], key_resolver=_Resolver(key)
        )
        covered: tuple[str, ...] = COVERED
        if IDEMPOTENCY_KEY in headers:
            covered = (*COVERED, IDEMPOTENCY_KEY)
        [result] = verifier.verify(
            SimpleNamespace(method=method, url=url, headers=headers),
            max_age=MAX_AGE,
            expect_tag=TAG,
            require_components=covered,
            body=body,
        )
        nonce = result.nonce
        if result.parameters["keyid"] != key_id or not nonce or len(nonce) > MAX_NONCE_CHARS:
            raise InvalidSignature("nonce")
        return f"{key_id}:{nonce}"


def _key_id(signature_input: str) -> str:
    """The key that the single signature names; nothing is verified yet."""
    if len(signature_input) > MAX_FIELD_CHARS:
        raise InvalidSignature("too long")
    members: Any = http_sf.parse(signature_input.encode("ascii"), tltype="dictionary")
    [(_, parameters)] = members.values()
    return str(parameters["keyid"])


def _may_sign_for(key: VerificationKey, principal: Principal) -> bool:
    if ANY_SUBJECT in key.subjects or principal.subject in key.subjects:
        return True
    # A key for the scope may sign for every token that carries it.
    return SCOPE_ANY_USER in key.subjects and SCOPE_ANY_USER in principal.scopes
