"""Signs requests (RFC 9421, HTTP Message Signatures), for clients and load tests.

The profile: method, path, query, digest of the body and, when there is one, the
Idempotency-Key are covered; `created`, `nonce` and `keyid` are parameters. The
server's half is `server.signatures`. Clock and nonce come from the caller.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

TAG = "scoreboard"
COVERED = ("@method", "@path", "@query", "content-digest")
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

    `url` is absolute. The same nonce names the same request: a server takes a
    second request with it for a repetition of the first.
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
