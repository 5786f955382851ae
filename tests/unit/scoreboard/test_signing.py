"""Keys are read from what people have in files, and the quick signer signs as the library does."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from scoreboard.signing import ED25519, HMAC_SHA256, Presigner, SigningKey, parse_key, sign

SECRET = b"k" * 32
ED_KEY = Ed25519PrivateKey.generate()
PEM = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)


def test_a_key_file_holds_a_secret_in_base64_or_an_ed25519_key_in_pem() -> None:
    shared = parse_key("a", base64.b64encode(SECRET) + b"\n")
    private = parse_key("b", ED_KEY.private_bytes(*PEM))

    assert (shared.id, shared.algorithm, shared.material) == ("a", HMAC_SHA256, SECRET)
    assert (private.id, private.algorithm) == ("b", ED25519)
    assert private.material.private_bytes_raw() == ED_KEY.private_bytes_raw()


@pytest.mark.parametrize(
    "raw",
    [
        b"not base64!",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        generate_private_key(SECP256R1()).private_bytes(*PEM),
    ],
)
def test_a_file_with_anything_else_is_refused_without_quoting_it(raw: bytes) -> None:
    with pytest.raises(ValueError, match="PEM") as refused:
        parse_key("a", raw)

    assert raw.decode() not in str(refused.value)


@pytest.mark.parametrize(("algorithm", "material"), [(HMAC_SHA256, SECRET), (ED25519, ED_KEY)])
@given(
    body=st.binary(max_size=64),
    name=st.text(VISIBLE, min_size=1, max_size=64),
    key_id=st.text(VISIBLE, min_size=1, max_size=16),
    created_s=st.integers(0, 4_000_000_000),
)
def test_the_quick_signer_signs_as_the_library_does(
    algorithm: str, material: object, body: bytes, name: str, key_id: str, created_s: int
) -> None:
    key = SigningKey(id=key_id, algorithm=algorithm, material=material)

    quick = Presigner(
        method="POST", authority="127.0.0.1:3000", path="/scores/update", key=key
    ).headers(body=body, idempotency_key=name, created_s=created_s, nonce="run-1")

    assert {"Idempotency-Key": name, **quick} == sign(
        method="POST",
        url="http://127.0.0.1:3000/scores/update",
        headers={"Idempotency-Key": name},
        body=body,
        key=key,
        created_s=created_s,
        nonce="run-1",
    )
