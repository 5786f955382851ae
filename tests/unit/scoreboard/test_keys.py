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
    keys = Keyring(sets=(parse_jwks(jwks(jwk(private))),))
    token = jwt.encode(CLAIMS, private, algorithm=algorithm, headers={"kid": "a"})

    assert tokens.verify(token, keys, now_s=NOW).subject == "1"


def test_a_public_key_is_no_shared_secret() -> None:
    keys = Keyring(sets=(parse_jwks(jwks(jwk(RSA_KEY))),))
    public = RSA_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    # PyJWT will not sign with a public key: the forger does it by hand.
    token = forged_hs256(public)

    with pytest.raises(tokens.InvalidToken):
        tokens.verify(token, keys, now_s=NOW)


def test_a_token_of_another_key_with_the_same_kid_is_refused() -> None:
    keys = Keyring(sets=(parse_jwks(jwks(jwk(ED_KEY))),))
    other = ed25519.Ed25519PrivateKey.generate()
    token = jwt.encode(CLAIMS, other, algorithm="EdDSA", headers={"kid": "a"})

    with pytest.raises(tokens.InvalidToken):
        tokens.verify(token, keys, now_s=NOW)


def test_a_token_of_an_unknown_key_says_so() -> None:
    keys = Keyring(secret=shared_secret(SECRET), sets=(parse_jwks(jwks(jwk(ED_KEY))),))
    token = jwt.encode(CLAIMS, ED_KEY, algorithm="EdDSA", headers={"kid": "new"})

    with pytest.raises(tokens.UnknownKey):
        tokens.verify(token, keys, now_s=NOW)


def test_secret_and_public_keys_serve_side_by_side() -> None:
    keys = Keyring(secret=shared_secret(SECRET), sets=(parse_jwks(jwks(jwk(ED_KEY))),))
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
        jwks(jwk(ED_KEY, "a"), {"kty": "oct", "k": "c2VjcmV0", "kid": "b"}),
        jwks(jwk(RSA_KEY, alg="ES256")),
        jwks(jwk(RSA_KEY, alg="HS256")),
        jwks(jwk(RSA_KEY, alg="none")),
        jwks(jwk(ED_KEY) | {"key_ops": ["sign"]}),
        jwks(jwk(ED_KEY) | {"key_ops": "verify"}),
        b'{"keys":[],' + jwks(jwk(ED_KEY))[1:],
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
        "secret key among good ones",
        "other algorithm",
        "algorithm of a secret",
        "no algorithm",
        "key to sign with",
        "operations as text",
        "a name twice",
        "broken point",
        "weak",
        "too many",
    ],
)
def test_a_document_that_cannot_be_trusted_is_refused(document: bytes) -> None:
    with pytest.raises(InvalidKeys):
        parse_jwks(document)


GOOD_KEY = jwk(EC_KEY, "good", use="sig")


@pytest.mark.parametrize(
    "other",
    [
        jwk(RSA_KEY, "other", alg="RSA-OAEP"),
        jwk(RSA_KEY, "other", alg="ES256"),
        jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024), "other"),
        jwk(ec.generate_private_key(ec.SECP256R1()), "other") | {"y": "AAAA"},
        jwk(ED_KEY, "other") | {"x": 7},
        jwk(ED_KEY, "other") | {"kid": 7},
        jwk(ED_KEY, "good"),
        {"kty": "AKP", "alg": "ML-DSA-44", "kid": "other", "pub": "AA"},
        {"kty": "EC", "crv": "secp256k1", "kid": "other"},
        {"kty": ["EC"]},
        {},
        None,
        "key",
        7,
        {k: v for k, v in jwk(ED_KEY).items() if k != "kid"},
    ],
)
def test_a_key_that_cannot_be_used_does_not_spoil_the_set(other: Any) -> None:
    for document in (jwks(GOOD_KEY, other), jwks(GOOD_KEY, other, jwk(ED_KEY, "last"))):
        found = parse_jwks(document)

        assert found["good"][0].algorithm == "ES256"
        assert set(found) <= {"good", "last"}


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_an_rsa_key_proves_the_algorithm_it_names_and_no_other(algorithm: str) -> None:
    keys = Keyring(sets=(parse_jwks(jwks(jwk(RSA_KEY, alg=algorithm))),))
    for each in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
        token = jwt.encode(CLAIMS, RSA_KEY, algorithm=each, headers={"kid": "a"})
        if each == algorithm:
            assert tokens.verify(token, keys, now_s=NOW).subject == "1"
        else:
            with pytest.raises(tokens.InvalidToken):
                tokens.verify(token, keys, now_s=NOW)


def test_without_a_kid_the_only_key_of_a_document_is_meant() -> None:
    token = jwt.encode(CLAIMS, EC_KEY, algorithm="ES256")
    nameless = {name: value for name, value in GOOD_KEY.items() if name != "kid"}

    for document in (jwks(GOOD_KEY), jwks(nameless)):
        keys = Keyring(secret=shared_secret(SECRET), sets=(parse_jwks(document),))
        assert tokens.verify(token, keys, now_s=NOW).subject == "1"
    both = Keyring(sets=(parse_jwks(jwks(GOOD_KEY, jwk(ED_KEY, "other"))),))
    with pytest.raises(tokens.InvalidToken):
        tokens.verify(token, both, now_s=NOW)


@pytest.mark.parametrize("kid", ["one", None])
def test_every_key_of_one_kid_proves_tokens_of_its_algorithm(kid: str | None) -> None:
    other, stranger = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    privates: tuple[PrivateKey, ...] = (RSA_KEY, EC_KEY, other, ED_KEY)
    entries = [jwk(private, "one") for private in privates]
    if kid is None:
        entries = [{k: v for k, v in entry.items() if k != "kid"} for entry in entries]
    algorithms = ("RS256", "ES256", "ES256", "EdDSA")

    for document in (jwks(*entries), jwks(*reversed(entries))):
        keys = Keyring(secret=shared_secret(SECRET), sets=(parse_jwks(document),))
        for private, algorithm in zip(privates, algorithms, strict=True):
            headers = {} if kid is None else {"kid": kid}
            token = jwt.encode(CLAIMS, private, algorithm=algorithm, headers=headers)
            assert tokens.verify(token, keys, now_s=NOW).subject == "1"
        token = jwt.encode(CLAIMS, stranger, algorithm="ES256", headers={"kid": "one"})
        with pytest.raises(tokens.InvalidToken):
            tokens.verify(token, keys, now_s=NOW)
        forged = jwt.encode(CLAIMS, SECRET, algorithm="HS256", headers={"kid": "one"})
        if kid == "one":
            with pytest.raises(tokens.InvalidToken):
                tokens.verify(forged, keys, now_s=NOW)


def test_the_keys_of_one_issuer_prove_no_token_of_another() -> None:
    policy = tokens.TokenPolicy(issuers=frozenset({"https://a.example", "https://b.example"}))
    other = ec.generate_private_key(ec.SECP256R1())
    keys = Keyring(
        sets=(
            parse_jwks(jwks(jwk(EC_KEY, "k")), "https://a.example"),
            # The same id at two issuers is no fault of either.
            parse_jwks(jwks(jwk(other, "k")), "https://b.example"),
        )
    )
    for issuer, private, passes in (
        ("https://a.example", EC_KEY, True),
        ("https://b.example", other, True),
        ("https://b.example", EC_KEY, False),
        ("https://a.example", other, False),
        ("scoreboard", EC_KEY, False),
    ):
        claims = CLAIMS | {"iss": issuer}
        token = jwt.encode(claims, private, algorithm="ES256", headers={"kid": "k"})
        if passes:
            assert tokens.verify(token, keys, now_s=NOW, policy=policy).subject == "1"
        else:
            with pytest.raises(tokens.InvalidToken):
                tokens.verify(token, keys, now_s=NOW, policy=policy)


def test_tokens_of_an_earlier_secret_stay_valid() -> None:
    older = (shared_secret(b"p" * 32), shared_secret(b"q" * 32))
    keys = Keyring(secret=shared_secret(SECRET), older=older)

    for secret in (SECRET, b"p" * 32, b"q" * 32):
        token = tokens.mint(secret, subject="1", now_s=NOW, ttl_s=60)
        assert tokens.verify(token, keys, now_s=NOW).subject == "1"
    with pytest.raises(tokens.InvalidToken):
        tokens.verify(tokens.mint(b"r" * 32, subject="1", now_s=NOW, ttl_s=60), keys, now_s=NOW)


def test_no_key_shows_in_a_repr() -> None:
    assert "sss" not in repr(Keyring(secret=shared_secret(SECRET)))
