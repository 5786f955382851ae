"""Keys that prove tokens: a shared secret, or public keys from a JWKS document.

Each key has exactly one algorithm, taken from the key itself and never from the
token, so no token can choose how it is checked (RFC 8725, section 3.1). Not where
documents come from, nor when they are fetched again: see the server.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jwt import PyJWK
from jwt.exceptions import InvalidKeyError, PyJWKError

from scoreboard.strict_json import strict_json

SHARED_SECRET_ALGORITHM = "HS256"
MAX_KEYS = 64
MIN_RSA_BITS = 2048

_ALGORITHMS_BY_KIND: Mapping[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""What each kind of key may be used with; the first one when the key names none."""


class InvalidKeys(ValueError):
    """The document holds no usable key set; the message names the fault, never a key."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key, the one algorithm it is used with, and the issuers whose tokens it proves.

    `issuers` None: those of the policy. Where issuers have keys of their own, one must not be able
    to speak for another (RFC 8725, section 3.8).
    """

    algorithm: str
    material: Any = field(repr=False)
    issuers: frozenset[str] | None = None


KeySet = Mapping[str, tuple[Key, ...]]
"""The keys of one JWKS document by their `kid`, which several may have."""


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """The shared secrets, if tokens may be signed with one, and the keys of each JWKS document.

    `older`: secrets that sign no new tokens, but still prove those they have signed.
    """

    secret: Key | None = None
    older: tuple[Key, ...] = ()
    sets: tuple[KeySet, ...] = ()

    def candidates(self, key_id: object, algorithm: object) -> list[Key]:
        """Every key that may prove a token with this `kid` and `alg`.

        A `kid` that names a public key excludes the secrets. Without one, the keys of a document
        whose keys have one id, or none, are meant.
        """
        named: list[Key] = []
        for keys in self.sets:
            if isinstance(key_id, str) and key_id:
                named += keys.get(key_id, ())
            elif key_id is None and len(keys) == 1:
                [only] = keys.values()
                named += only
        if not named or key_id is None:
            named += [self.secret] if self.secret is not None else []
            named += self.older
        return [key for key in named if key.algorithm == algorithm]


def shared_secret(secret: bytes) -> Key:
    """The key of tokens signed with HS256."""
    return Key(algorithm=SHARED_SECRET_ALGORITHM, material=secret)


def parse_jwks(document: bytes, issuer: str | None = None) -> KeySet:
    """The public signing keys of a JWKS document (RFC 7517) by their `kid`.

    Each key is judged by itself, as section 5 asks: those for encryption, of kinds not used here,
    too weak or malformed are passed over. Keys of one `kid` are alternatives (section 4.5). Keys
    without one count when no key has one, under the empty id. `issuer`: the only one whose tokens
    they prove.
    Raises InvalidKeys when nothing is left, or a secret or private key is among them.
    """
    try:
        entries = strict_json(document)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidKeys("not a JWKS document") from error
    if type(entries) is not list:
        raise InvalidKeys("not a JWKS document")
    if len(entries) > MAX_KEYS:
        raise InvalidKeys(f"more than {MAX_KEYS} keys")
    entries = [entry for entry in entries if type(entry) is dict]
    if any(entry.get("kty") == "oct" or "d" in entry for entry in entries):
        raise InvalidKeys("a secret or private key does not belong in a JWKS document")
    issuers = None if issuer is None else frozenset({issuer})
    found: dict[str, tuple[Key, ...]] = {}
    for entry in entries:
        key_id = entry.get("kid", "")
        key = _public_key(entry, issuers)
        if key is not None and type(key_id) is str:
            found[key_id] = (*found.get(key_id, ()), key)
    if len(found) > 1:
        found.pop("", None)
    if not found:
        raise InvalidKeys("no usable key")
    return found


def _public_key(entry: dict[str, Any], issuers: frozenset[str] | None) -> Key | None:
    curve = entry.get("crv")
    kind = (str(entry.get("kty")), None if curve is None else str(curve))
    algorithms = _ALGORITHMS_BY_KIND.get(kind)
    operations = entry.get("key_ops", ["verify"])
    if algorithms is None or entry.get("use", "sig") != "sig":
        return None
    if type(operations) is not list or "verify" not in operations:
        return None
    algorithm = entry.get("alg", algorithms[0])
    if algorithm not in algorithms:
        return None
    try:
        material = PyJWK(entry, algorithm=algorithm).key
    except (PyJWKError, InvalidKeyError, ValueError, TypeError):
        return None
    if kind[0] == "RSA" and material.key_size < MIN_RSA_BITS:
        return None
    return Key(algorithm=algorithm, material=material, issuers=issuers)
