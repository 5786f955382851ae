"""Keys that prove tokens: a shared secret, or public keys from a JWKS document.

Each key has exactly one algorithm, taken from the key itself and never from the
token, so no token can choose how it is checked (RFC 8725, section 3.1). Not where
documents come from, nor when they are fetched again: see the server.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from jwt import PyJWK
from jwt.exceptions import InvalidKeyError, PyJWKError

SHARED_SECRET_ALGORITHM = "HS256"
MAX_KEYS = 64
MIN_RSA_BITS = 2048

_ALGORITHM_BY_KIND = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}


class InvalidKeys(Exception):
    """The document holds no usable key set; the message names the fault, never a key."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key and the one algorithm it is used with."""

    algorithm: str
    material: Any = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """The shared secret, if tokens may be signed with one, and public keys by id."""

    secret: Key | None = None
    public: Mapping[str, Key] = field(default_factory=dict)

    def find(self, key_id: object) -> Key | None:
        """The public key that a token's `kid` names, otherwise the secret."""
        named = self.public.get(key_id) if isinstance(key_id, str) else None
        return named or self.secret


def shared_secret(secret: bytes) -> Key:
    """The key of tokens signed with HS256."""
    return Key(algorithm=SHARED_SECRET_ALGORITHM, material=secret)


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


def parse_jwks(document: bytes) -> dict[str, Key]:
    """The public signing keys of a JWKS document (RFC 7517) by their `kid`.

    Keys for encryption and of kinds not used here are passed over. Raises
    InvalidKeys when nothing is left, a key has no or another's id, a secret key
    is among them, or one is too weak.
    """
    try:
        entries = msgspec.json.decode(document, type=_Document).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidKeys("not a JWKS document") from error
    if len(entries) > MAX_KEYS:
        raise InvalidKeys(f"more than {MAX_KEYS} keys")
    found: dict[str, Key] = {}
    for entry in entries:
        curve = entry.get("crv")
        kind = (str(entry.get("kty")), None if curve is None else str(curve))
        algorithm = _ALGORITHM_BY_KIND.get(kind)
        if entry.get("kty") == "oct" or "d" in entry:
            raise InvalidKeys("a secret or private key does not belong in a JWKS document")
        if algorithm is None or entry.get("use", "sig") != "sig":
            continue
        key_id = entry.get("kid")
        if not isinstance(key_id, str) or not key_id or key_id in found:
            raise InvalidKeys("every key needs a kid of its own")
        found[key_id] = _public_key(entry, algorithm)
    if not found:
        raise InvalidKeys("no usable key")
    return found


def _public_key(entry: dict[str, Any], algorithm: str) -> Key:
    if entry.get("alg", algorithm) != algorithm:
        raise InvalidKeys("a key names another algorithm than its kind has here")
    try:
        material = PyJWK(entry, algorithm=algorithm).key
    except (PyJWKError, InvalidKeyError, ValueError, TypeError) as error:
        raise InvalidKeys("a key cannot be read") from error
    if algorithm == "RS256" and material.key_size < MIN_RSA_BITS:
        raise InvalidKeys(f"an RSA key has fewer than {MIN_RSA_BITS} bits")
    return Key(algorithm=algorithm, material=material)
