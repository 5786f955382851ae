"""Signs requests (RFC 9421, HTTP Message Signatures), for clients and load tests.

The profile: method, authority, path, query, digest of the body and, when there is one, the
Idempotency-Key are covered; `created`, `nonce` and `keyid` are parameters. The
server's half is `server.auth.signatures`. Clock and nonce come from the caller.
"""

import base64
import datetime
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPSignatureKeyResolver,
    algorithms,
)

TAG = "scoreboard"
COVERED = ("@method", "@authority", "@path", "@query", "content-digest")
IDEMPOTENCY_KEY = "idempotency-key"

HMAC_SHA256 = "hmac-sha256"
ED25519 = "ed25519"
ALGORITHMS: Mapping[str, type[algorithms.HTTPSignatureAlgorithm]] = {
    HMAC_SHA256: algorithms.HMAC_SHA256,
    ED25519: algorithms.ED25519,
}


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A key to sign with: the shared secret's bytes, or an Ed25519 private key object."""

    id: str
    algorithm: str
    material: Any = field(repr=False)


def parse_key(key_id: str, raw: bytes) -> SigningKey:
    """The key in a file's bytes: a shared secret in base64, or an Ed25519 private key in PEM.

    Raises ValueError, whose message holds nothing of the key.
    """
    if not raw.lstrip().startswith(b"-----BEGIN"):
        try:
            secret = base64.b64decode(raw.strip(), validate=True)
        except ValueError:
            raise ValueError("neither base64 nor a PEM key") from None
        return SigningKey(id=key_id, algorithm=HMAC_SHA256, material=secret)
    try:
        material = algorithms.ED25519(private_key=raw).private_key  # type: ignore[no-untyped-call]
    except (HTTPMessageSignaturesException, ValueError, TypeError):
        raise ValueError("the PEM holds no Ed25519 private key") from None
    return SigningKey(id=key_id, algorithm=ED25519, material=material)


class _OneKey(HTTPSignatureKeyResolver):
    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def resolve_private_key(self, key_id: str) -> Any:
        assert key_id == self._key.id
        return self._key.material


def sign(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    key: SigningKey,
    created_s: int,
    nonce: str,
) -> dict[str, str]:
    """The headers to send: those given plus Content-Digest, Signature-Input and Signature.

    `url` is absolute, and its host one that the server knows as its own. The same nonce names the
    same request: a server takes a second request with it for a repetition of the first.
    """
    message = SimpleNamespace(method=method, url=url, headers=dict(headers))
    covered: tuple[str, ...] = COVERED
    if any(name.lower() == IDEMPOTENCY_KEY for name in headers):
        covered = (*COVERED, IDEMPOTENCY_KEY)
    signer = HTTPMessageSigner(
        signature_algorithm=ALGORITHMS[key.algorithm], key_resolver=_OneKey(key)
    )
    signer.sign(
        message,
        key_id=key.id,
        created=datetime.datetime.fromtimestamp(created_s, tz=datetime.UTC),
        nonce=nonce,
        label="sig",
        tag=TAG,
        covered_component_ids=covered,
        body=body,
    )
    return dict(message.headers)


class Presigner:
    """Signs many requests that differ in body and Idempotency-Key only, for load generators.

    The same headers as `sign`, value for value, at about a hundredth of its cost, since
    what they have in common is laid out once. The path must have no query, and the authority no
    default port.
    """

    def __init__(self, *, method: str, authority: str, path: str, key: SigningKey) -> None:
        self._key = key
        self._fixed = (
            f'"@method": {method}\n"@authority": {authority.lower()}\n'
            f'"@path": {path}\n"@query": ?\n'
        )
        covered = " ".join(f'"{name}"' for name in (*COVERED, IDEMPOTENCY_KEY))
        key_id = key.id.replace("\\", "\\\\").replace('"', '\\"')
        self._covered = f"({covered});created="
        self._named = f';keyid="{key_id}";alg="{key.algorithm}";nonce="'

    def headers(
        self, *, body: bytes, idempotency_key: str, created_s: int, nonce: str
    ) -> dict[str, str]:
        """Content-Digest, Signature-Input and Signature. The nonce must need no escapes."""
        digest = f"sha-256=:{_base64(hashlib.sha256(body).digest())}:"
        parameters = f'{self._covered}{created_s}{self._named}{nonce}";tag="{TAG}"'
        base = (
            f'{self._fixed}"content-digest": {digest}\n"{IDEMPOTENCY_KEY}": {idempotency_key}\n'
            f'"@signature-params": {parameters}'
        ).encode("ascii")
        material = self._key.material
        if self._key.algorithm == HMAC_SHA256:
            signature = hmac.digest(material, base, "sha256")
        else:
            signature = material.sign(base)
        return {
            "Content-Digest": digest,
            "Signature-Input": f"sig={parameters}",
            "Signature": f"sig=:{_base64(signature)}:",
        }


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
