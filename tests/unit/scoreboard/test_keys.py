"""Key sets: which documents are taken, and which token each key proves."""

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from scoreboard import tokens
from scoreboard.keys import InvalidKeys, Keyring, parse_jwks, shared_secret

NOW = 1_800_000_000
CLAIMS = {"iss": "scoreboard", "aud": "scoreboard", "sub": "1", "iat": NOW, "exp": NOW + 60}
SECRET = b"s" * 32

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def jwk(private: PrivateKey, kid: str = "a", **members: str) -> dict[str, Any]:
    writer: dict[type, Any] = {
        rsa.RSAPrivateKey: RSAAlgorithm,
        ec.EllipticCurvePrivateKey: ECAlgorithm,
        ed25519.Ed25519PrivateKey: OKPAlgorithm,
    }
    [kind] = [kind for base, kind in writer.items() if isinstance(private, base)]
    public: dict[str, Any] = json.loads(kind.to_jwk(private.public_key()))
    return public | {"kid": kid} | members


def jwks(*entries: dict[str, object]) -> bytes:
    return json.dumps({"keys": list(entries)}).encode()


def forged_hs256(secret: bytes) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": "a"}, CLAIMS)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(secret, signed, "sha256")
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@pytest.mark.parametrize(
    ("private", "algorithm"), [(RSA_KEY, "RS256"), (EC_KEY, "ES256"), (ED_KEY, "EdDSA")]
)
def test_each_kind_of_key_proves_tokens_of_its_algorithm(
    private: PrivateKey, algorithm: str
) -> None:
    keys = Keyring(public=parse_jwks(jwks(jwk(private))))
    token = jwt.encode(CLAIMS, private, algorithm=algorithm, headers={"kid": "a"})

    assert tokens.verify(token, keys, now_s=NOW).subject == "1"


def test_a_public_key_is_no_shared_secret() -> None:
    keys = Keyring(public=parse_jwks(jwks(jwk(RSA_KEY))))
    public = RSA_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    # PyJWT will not sign with a public key: the forger does it by hand.
    token = forged_hs256(public)

    with pytest.raises(tokens.InvalidToken):
        tokens.verify(token, keys, now_s=NOW)


def test_a_token_of_another_key_with_the_same_kid_is_refused() -> None:
    keys = Keyring(public=parse_jwks(jwks(jwk(ED_KEY))))
    other = ed25519.Ed25519PrivateKey.generate()
    token = jwt.encode(CLAIMS, other, algorithm="EdDSA", headers={"kid": "a"})

    with pytest.raises(tokens.InvalidToken):
        tokens.verify(token, keys, now_s=NOW)


def test_a_token_of_an_unknown_key_says_so() -> None:
    keys = Keyring(secret=shared_secret(SECRET), public=parse_jwks(jwks(jwk(ED_KEY))))
    token = jwt.encode(CLAIMS, ED_KEY, algorithm="EdDSA", headers={"kid": "new"})

    with pytest.raises(tokens.UnknownKey):
        tokens.verify(token, keys, now_s=NOW)


def test_secret_and_public_keys_serve_side_by_side() -> None:
    keys = Keyring(secret=shared_secret(SECRET), public=parse_jwks(jwks(jwk(ED_KEY))))
    signed = jwt.encode(CLAIMS, ED_KEY, algorithm="EdDSA", headers={"kid": "a"})
    shared = tokens.mint(SECRET, subject="2", now_s=NOW, ttl_s=60)

    assert tokens.verify(signed, keys, now_s=NOW).subject == "1"
    assert tokens.verify(shared, keys, now_s=NOW).subject == "2"


def test_keys_for_other_uses_are_passed_over() -> None:
    document = jwks(jwk(ED_KEY, "a"), jwk(RSA_KEY, "b", use="enc"), {"kty": "OKP", "crv": "X25519"})

    assert set(parse_jwks(document)) == {"a"}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'{"keys": 1}',
        jwks(),
        jwks({"kty": "oct", "k": "c2VjcmV0", "kid": "a"}),
        jwks(json.loads(OKPAlgorithm.to_jwk(ED_KEY)) | {"kid": "a"}),
        jwks({k: v for k, v in jwk(ED_KEY).items() if k != "kid"}),
        jwks(jwk(ED_KEY, "a"), jwk(EC_KEY, "a")),
        jwks(jwk(RSA_KEY, alg="PS256")),
        jwks(jwk(ED_KEY) | {"x": "AA"}),
        jwks(jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024))),
        jwks(*[jwk(ED_KEY, str(number)) for number in range(65)]),
    ],
    ids=[
        "empty",
        "no object",
        "keys is no list",
        "no keys",
        "secret key",
        "private key",
        "no kid",
        "kid twice",
        "other algorithm",
        "broken point",
        "weak",
        "too many",
    ],
)
def test_a_document_that_cannot_be_trusted_is_refused(document: bytes) -> None:
    with pytest.raises(InvalidKeys):
        parse_jwks(document)


def test_no_key_shows_in_a_repr() -> None:
    assert "sss" not in repr(Keyring(secret=shared_secret(SECRET)))
