"""Signed requests: accepted ones, and all that must be refused."""

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scoreboard.errors import Problem
from scoreboard.signing import SigningKey, sign
from scoreboard.tokens import Principal
from server.auth.signatures import (
    SignatureKeysError,
    Signatures,
    Signed,
    SignedMessage,
    load_keys,
    local_names,
)

SECRET = b"k" * 32
ED_KEY = Ed25519PrivateKey.generate()
URL = "http://127.0.0.1:3000/scores/update"
BODY = b'{"userId":1,"increment":10}'
ALICE = Principal(subject="1", scopes=frozenset(), expires_s=0)
HMAC_KEY = SigningKey(id="game", algorithm="hmac-sha256", material=SECRET)
SIGNING_ED = SigningKey(id="phone", algorithm="ed25519", material=ED_KEY)


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def key_file(tmp_path: Path, *entries: Mapping[str, object]) -> str:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": list(entries)}))
    return str(path)


GAME = {"id": "game", "algorithm": "hmac-sha256", "key": b64(SECRET), "subjects": ["1"]}
PHONE = {
    "id": "phone",
    "algorithm": "ed25519",
    "key": b64(ED_KEY.public_key().public_bytes_raw()),
    "subjects": ["*"],
}


@pytest.fixture
def signatures(tmp_path: Path) -> Signatures:
    return Signatures(load_keys(key_file(tmp_path, GAME, PHONE)), required=False)


def signed(
    key: SigningKey = HMAC_KEY, *, nonce: str = "n1", age_s: int = 0, **headers: str
) -> dict[str, str]:
    return {
        name.lower(): value
        for name, value in sign(
            method="POST",
            url=URL,
            headers=headers,
            body=BODY,
            key=key,
            created_s=int(time.time()) - age_s,
            nonce=nonce,
        ).items()
    }


def check(
    signatures: Signatures,
    headers: dict[str, str],
    *,
    body: bytes = BODY,
    target: str = "/scores/update",
    host: str = "127.0.0.1:3000",
    method: str = "POST",
    principal: Principal = ALICE,
) -> Signed | None:
    message = SignedMessage.of(method, host, target, headers)
    return signatures.check(message, body=body, principal=principal, local=("127.0.0.1", 3000))


@pytest.mark.parametrize(
    ("key", "name"), [(HMAC_KEY, ("game", "n1")), (SIGNING_ED, ("phone", "n1"))]
)
def test_a_signed_request_is_named_by_key_and_nonce(
    signatures: Signatures, key: SigningKey, name: tuple[str, str]
) -> None:
    assert check(signatures, signed(key)) == name


def test_unsigned_request_passes_unless_signatures_are_required(
    signatures: Signatures, tmp_path: Path
) -> None:
    strict = Signatures(load_keys(key_file(tmp_path, GAME)), required=True)

    assert check(signatures, {}) is None
    with pytest.raises(Problem):
        check(strict, {})


def test_a_changed_part_breaks_the_signature(signatures: Signatures) -> None:
    headers = signed()

    with pytest.raises(Problem):
        check(signatures, headers, body=BODY.replace(b"10", b"99"))
    with pytest.raises(Problem):
        check(signatures, headers, target="/scores/update?x=1")
    with pytest.raises(Problem):
        check(signatures, headers, target="/scores/updates")
    with pytest.raises(Problem):
        check(signatures, headers, method="PUT")
    with pytest.raises(Problem):
        check(signatures, headers | {"content-digest": "sha-256=:" + b64(b"x" * 32) + ":"})


def for_authorities(tmp_path: Path, *names: str) -> Signatures:
    return Signatures(load_keys(key_file(tmp_path, GAME)), required=False, authorities=names)


def test_signed_bytes_are_for_one_deployment(signatures: Signatures, tmp_path: Path) -> None:
    here = for_authorities(tmp_path, "board.example", "127.0.0.1:3000")
    elsewhere = for_authorities(tmp_path, "other.example")

    # A proxy may have changed the Host, or kept it.
    for host in ("127.0.0.1:3000", "BOARD.example", "10.0.0.5:3000", ""):
        assert bool(check(for_authorities(tmp_path, "127.0.0.1:3000"), signed(), host=host))
    assert check(here, signed(), host="127.0.0.1:3000")
    for host in ("127.0.0.1:3000", "other.example"):
        with pytest.raises(Problem):
            check(elsewhere, signed(), host=host)
    # Without names the address of the connection counts, whatever a client writes as Host.
    with pytest.raises(Problem):
        check(signatures, signed(), host="board.example")


def test_the_own_addresses_are_names() -> None:
    assert local_names(("127.0.0.1", 3000)) == ("127.0.0.1:3000", "localhost:3000")
    assert local_names(("::1", 80)) == ("[::1]", "localhost")
    assert local_names(("::ffff:10.0.0.5", 3000)) == ("10.0.0.5:3000",)
    assert local_names(("fe80::1%eth0", 3000)) == ("[fe80::1]:3000",)
    assert local_names(None) == ("localhost",)


def test_a_signed_submission_is_named_by_its_signature() -> None:
    """What the same bytes do does not depend on who sends them."""
    one, other = Signed("game", "n1"), Signed("phone", "n1")

    assert one.name(1, "k") != one.name(2, "k") != one.name(2, None)
    assert one.namespace != other.namespace
    # A key that looks like a nonce is none.
    assert one.name(1, "n1") != one.name(1, None)
    assert one.name(1, None, 1) != one.name(1, None, 2)
    assert "\0" in one.namespace


def test_only_the_requests_own_parts_may_be_covered(signatures: Signatures) -> None:
    """The library's other components come from an address that nobody sent."""
    headers = signed()
    more = headers["signature-input"].replace('"@query"', '"@query" "@target-uri"')

    with pytest.raises(Problem):
        check(signatures, headers | {"signature-input": more})


@pytest.mark.parametrize("age_s", [306, -60])
def test_a_stale_or_future_signature_is_refused(signatures: Signatures, age_s: int) -> None:
    with pytest.raises(Problem):
        check(signatures, signed(age_s=age_s))


def test_a_key_signs_only_for_its_subjects(signatures: Signatures) -> None:
    bob = Principal(subject="2", scopes=frozenset(), expires_s=0)

    with pytest.raises(Problem):
        check(signatures, signed(), principal=bob)
    assert check(signatures, signed(SIGNING_ED), principal=bob)


def test_a_key_for_a_scope_signs_for_tokens_with_it(tmp_path: Path) -> None:
    entry = GAME | {"subjects": ["scores:write:any"]}
    signatures = Signatures(load_keys(key_file(tmp_path, entry)), required=True)
    service = Principal(subject="server-7", scopes=frozenset({"scores:write:any"}), expires_s=0)

    assert check(signatures, signed(), principal=service)
    with pytest.raises(Problem):
        check(signatures, signed())


def test_an_idempotency_key_must_be_covered(signatures: Signatures) -> None:
    covered = signed(HMAC_KEY, nonce="n1", age_s=0, **{"Idempotency-Key": "k"})

    assert check(signatures, covered)
    with pytest.raises(Problem):
        check(signatures, signed() | {"idempotency-key": "k"})
    with pytest.raises(Problem):
        check(signatures, covered | {"idempotency-key": "other"})


@pytest.mark.parametrize(
    "change",
    [
        {"signature": "sig=:AAAA:"},
        {"signature": ""},
        {"signature-input": ""},
        {"signature-input": "sig"},
        {"signature-input": 'sig=("@method");keyid="game"'},
        {"signature-input": 'sig=();created=1;keyid="nobody"'},
        {"signature-input": "x" * 5000},
        {"signature-input": "é"},
    ],
)
def test_a_malformed_signature_is_refused(signatures: Signatures, change: dict[str, str]) -> None:
    with pytest.raises(Problem):
        check(signatures, signed() | change)


def test_half_a_signature_is_refused(signatures: Signatures) -> None:
    for missing in ("signature", "signature-input", "content-digest"):
        headers = signed()
        del headers[missing]
        with pytest.raises(Problem):
            check(signatures, headers)


def test_a_key_file_with_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [GAME]})[:-1] + ', "keys": []}')

    with pytest.raises(SignatureKeysError):
        load_keys(str(path))


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [GAME, GAME],
        [GAME | {"key": b64(b"short")}],
        [GAME | {"key": "not base64!"}],
        [GAME | {"algorithm": "none"}],
        [PHONE | {"key": b64(b"x" * 31)}],
        [GAME | {"surplus": 1}],
    ],
)
def test_a_key_file_with_a_fault_is_refused_without_telling_secrets(
    tmp_path: Path, entries: list[dict[str, object]]
) -> None:
    with pytest.raises(SignatureKeysError) as raised:
        load_keys(key_file(tmp_path, *entries))
    assert b64(b"short") not in str(raised.value)
