"""Checks signed requests (RFC 9421) against the keys of a file. Signing is `scoreboard.signing`.

A signature comes on top of the token: its key must be one for the token's subject. What the
signed bytes do is bound to the signature: the submission's id comes from the signing key, the user
and the covered Idempotency-Key, or else the nonce, never from the token beside it. So the same
bytes sent again, with whichever token, to whichever process, are the same submission: first answer,
no effect. And they are for this deployment only: their authority must be one of its names.
"""

import base64
import binascii
import datetime
import ipaddress
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import http_sf
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageVerifier,
    HTTPSignatureComponentResolver,
    HTTPSignatureKeyResolver,
)
from http_message_signatures.exceptions import HTTPMessageSignaturesException, InvalidSignature

from adapters.reasons import reason_of
from scoreboard.errors import UNAUTHORIZED, Problem
from scoreboard.settings import SettingsError
from scoreboard.signing import ALGORITHMS, COVERED, ED25519, HMAC_SHA256, IDEMPOTENCY_KEY, TAG
from scoreboard.strict_json import strict_json
from scoreboard.tokens import MIN_SECRET_BYTES, SCOPE_ANY_USER, Principal

log = structlog.get_logger()

MAX_AGE = datetime.timedelta(seconds=300)
MAX_NONCE_CHARS = 128
MAX_FIELD_CHARS = 2048
ANY_SUBJECT = "*"


class SignatureKeysError(SettingsError):
    """The key file is unusable; the message names the key and the fault, never a secret."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"SCOREBOARD_SIGNATURE_KEYS: {fault}")


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
    """The keys of a file by id. Raises SignatureKeysError."""
    try:
        return parse_key_file(Path(path).read_bytes())
    except OSError as error:
        raise SignatureKeysError(f"the file cannot be read: {reason_of(error)}") from error
    except ValueError as error:
        raise SignatureKeysError(str(error)) from None


def parse_key_file(content: bytes) -> dict[str, VerificationKey]:
    """The keys of a file's content by id. Raises ValueError; its message holds no secret.

    The file: `{"keys":[{"id":"game-1","algorithm":"hmac-sha256","key":"<base64>",
    "subjects":["1"]}]}`; for `ed25519` the key is the raw public key.
    """
    try:
        entries = msgspec.convert(strict_json(content), type=_KeyFile).keys
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not a file of keys: {reason_of(error)}") from error
    keys = {entry.id: _key(entry) for entry in entries}
    if len(keys) != len(entries) or not keys:
        raise ValueError("it needs at least one key, each with an id of its own")
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
        raise ValueError(
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


class Signed(NamedTuple):
    """What names a signed request: its key's id and its nonce."""

    key_id: str
    nonce: str

    @property
    def namespace(self) -> str:
        """In place of a principal, in the id of a submission; no principal has a NUL."""
        return f"\0signed\0{self.key_id}"

    def name(self, user_id: int, key: str | None, number: int = 0) -> str:
        """The name of the request's submission: by `key`, the Idempotency-Key, else by nonce."""
        if key is not None:
            return f"{user_id}\0key\0{key}"
        return f"{user_id}\0nonce\0{number}\0{self.nonce}"


class SignedMessage(NamedTuple):
    """What a signature may cover, as the server received it; `authority`: the request's Host."""

    method: str
    authority: str
    path: str
    query: str
    headers: Mapping[str, str]
    url: str = "http://unused.invalid/"

    @classmethod
    def of(
        cls, method: str, authority: str, target: str, headers: Mapping[str, str]
    ) -> "SignedMessage":
        """Of a request with this target in origin form."""
        path, _, query = target.partition("?")
        return cls(method, authority.lower(), path, query, headers)


class _Components(HTTPSignatureComponentResolver):
    """Components from the request's own parts. The library would parse an address made of them."""

    derived_component_resolvers: ClassVar[dict[str, Callable[..., str]]] = {
        "@method": lambda resolver: resolver.message.method,
        "@authority": lambda resolver: resolver.message.authority,
        "@path": lambda resolver: resolver.message.path,
        "@query": lambda resolver: f"?{resolver.message.query}",
    }


class Signatures:
    """The server's policy: the known keys, whether signatures are required, and its own names.

    Without `authorities` the addresses count that a connection came in by: see `local_names`.
    """

    def __init__(
        self,
        keys: Mapping[str, VerificationKey],
        *,
        required: bool,
        authorities: Iterable[str] = (),
    ) -> None:
        self._keys = keys
        self._required = required
        self._authorities = tuple(each.lower() for each in authorities)
        self._told = False

    def concern(self, headers: Container[str]) -> bool:
        """Whether a request with these header names is signed, or must be."""
        return self._required or "signature" in headers or "signature-input" in headers

    def check(
        self,
        message: SignedMessage,
        *,
        body: bytes,
        principal: Principal,
        local: tuple[str, int] | None = None,
    ) -> Signed | None:
        """What names the request, or None when it is not signed.

        The message's `headers` have lower-case names; repeated fields are joined with ", ". `local`
        is the connection's own address. Raises Problem (unauthorized) when the signature is
        invalid, too old, for another deployment, made with a key for other subjects, or missing
        although required.
        """
        headers = message.headers
        if "signature" not in headers and "signature-input" not in headers:
            if self._required:
                raise Problem(UNAUTHORIZED, "This server requires signed requests (RFC 9421).")
            return None
        try:
            return self._verified(message, body, principal, local)
        except (HTTPMessageSignaturesException, ValueError, TypeError, KeyError) as error:
            log.debug("signature_refused", reason=type(error).__name__)
            raise Problem(UNAUTHORIZED, "The request's signature is not valid.") from None

    def _verified(
        self,
        message: SignedMessage,
        body: bytes,
        principal: Principal,
        local: tuple[str, int] | None,
    ) -> Signed:
        key_id = _key_id(message.headers["signature-input"])
        key = self._keys[key_id]
        if not _may_sign_for(key, principal):
            raise InvalidSignature("a key for other subjects")
        names = self._authorities or local_names(local)
        if not self._authorities and message.authority not in names:
            self._tell()
            raise InvalidSignature("for another authority")
        # A proxy may have changed the Host: then it is one of the names all the same.
        chosen = [message.authority] if message.authority in names else names
        for number, authority in enumerate(chosen, start=1):
            try:
                return self._signed(message._replace(authority=authority), body, key_id, key)
            except InvalidSignature:
                if number == len(chosen):
                    raise
        raise InvalidSignature("no authority")

    def _signed(
        self, message: SignedMessage, body: bytes, key_id: str, key: VerificationKey
    ) -> Signed:
        verifier = HTTPMessageVerifier(
            signature_algorithm=ALGORITHMS[key.algorithm],
            key_resolver=_Resolver(key),
            component_resolver_class=_Components,
        )
        covered: tuple[str, ...] = COVERED
        if IDEMPOTENCY_KEY in message.headers:
            covered = (*COVERED, IDEMPOTENCY_KEY)
        [result] = verifier.verify(
            message, max_age=MAX_AGE, expect_tag=TAG, require_components=covered, body=body
        )
        nonce = result.nonce
        if result.parameters["keyid"] != key_id or not nonce or len(nonce) > MAX_NONCE_CHARS:
            raise InvalidSignature("nonce")
        return Signed(key_id, str(nonce))

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            # Once: behind a name that this server does not know, every signature fails.
            log.warning("signed_for_another_authority", setting="SCOREBOARD_SIGNATURE_AUTHORITIES")


def local_names(local: tuple[str, int] | None) -> tuple[str, ...]:
    """The authorities of an address of this machine."""
    if local is None:
        return ("localhost",)
    host, port = local
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    text = f"[{address}]" if address.version == 6 else str(address)
    hosts = (text, "localhost") if address.is_loopback else (text,)
    return tuple(each if port == 80 else f"{each}:{port}" for each in hosts)


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
