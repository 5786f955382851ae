"""Tokens: one kind passes, and a corpus of forged ones raises InvalidToken and nothing else."""

import base64
import hashlib
import hmac
import json
import re
import warnings
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from scoreboard import tokens
from scoreboard.domain import MAX_USER_ID
from scoreboard.keys import Keyring, shared_secret

SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"another-secret-of-32-bytes-or-more"
NOW = 1_764_000_000
CLAIMS: dict[str, Any] = {
    "iss": "scoreboard",
    "aud": "scoreboard",
    "sub": "1",
    "iat": NOW,
    "exp": NOW + 60,
}
HEADER: dict[str, Any] = {"alg": "HS256", "typ": "JWT"}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(head: str, body: str, secret: bytes = SECRET) -> str:
    signature = hmac.digest(secret, f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}.{b64(signature)}"


def forge(
    claims: object = None,
    header: object = None,
    *,
    secret: bytes = SECRET,
    claims_text: bytes | None = None,
    header_text: bytes | None = None,
) -> str:
    """A token with a right HMAC over anything at all."""
    head = header_text if header_text is not None else json.dumps(header or HEADER).encode()
    body = claims_text if claims_text is not None else json.dumps(claims or CLAIMS).encode()
    return sign(b64(head), b64(body), secret)


def with_claims(**changed: Any) -> str:
    return forge({name: value for name, value in (CLAIMS | changed).items() if value is not DROP})


def with_header(**changed: Any) -> str:
    return forge(header={n: value for n, value in (HEADER | changed).items() if value is not DROP})


DROP = object()


def verify(token: str, now_s: float = NOW) -> tokens.Principal:
    return tokens.verify(token, Keyring(secret=shared_secret(SECRET)), now_s=now_s)


# What passes


def test_a_minted_token_names_its_subject() -> None:
    token = tokens.mint(SECRET, subject="1", now_s=NOW, ttl_s=60)

    assert verify(token) == tokens.Principal(subject="1", scopes=frozenset(), expires_s=NOW + 60)


def test_a_token_may_update_only_its_own_user() -> None:
    principal = verify(tokens.mint(SECRET, subject="1", now_s=NOW, ttl_s=60))

    assert principal.may_update(1)
    assert not principal.may_update(11)


def test_the_scope_for_any_user_opens_every_user() -> None:
    scopes = ("other", tokens.SCOPE_ANY_USER)
    principal = verify(tokens.mint(SECRET, subject="ops", now_s=NOW, ttl_s=60, scopes=scopes))

    assert principal.scopes == set(scopes)
    assert principal.may_update(1)
    assert principal.may_update(MAX_USER_ID)


@pytest.mark.parametrize(
    "scope",
    ["", "scores:write", "scores:write:anyone", "SCORES:WRITE:ANY", "x\tscores:write:any"],
)
def test_no_other_scope_opens_another_user(scope: str) -> None:
    assert not verify(with_claims(scope=scope)).may_update(2)


@pytest.mark.parametrize("subject", ["01", "1.0", "+1", " 1", "1 ", "one", "1" * 64])
def test_a_subject_is_compared_as_text(subject: str) -> None:
    assert not verify(with_claims(sub=subject)).may_update(1)


@pytest.mark.parametrize(
    "token",
    [
        forge(),
        with_header(typ=DROP),
        with_header(kid="2025-11"),
        with_claims(jti="abc", extra={"nested": [1, 2.5, None]}),
        with_claims(nbf=NOW),
        with_claims(iat=NOW + tokens.LEEWAY_S),
        with_claims(exp=NOW + tokens.MAX_LIFETIME_S),
        with_header(typ="at+jwt"),
        with_header(typ="AT+JWT"),
        with_header(typ="application/at+jwt"),
        with_header(typ="jwt"),
        with_claims(aud=["scoreboard"]),
        with_claims(aud=["other", "scoreboard"]),
        with_claims(exp=NOW + 0.5),
        with_claims(iat=NOW - 0.25, nbf=NOW - 0.75),
        with_claims(iat=DROP),
        with_claims(scope=["a", "b"], scp="c d", permissions=["e"]),
        with_claims(typ="Bearer", azp="game", auth_time=NOW),
    ],
)
def test_ordinary_variations_pass(token: str) -> None:
    assert verify(token).subject == "1"


def test_expiry_is_judged_by_the_clock_given_with_its_leeway() -> None:
    token = tokens.mint(SECRET, subject="1", now_s=NOW, ttl_s=60)
    end = NOW + 60 + tokens.LEEWAY_S

    assert verify(token, end - 0.001).expires_s == NOW + 60
    with pytest.raises(tokens.InvalidToken, match="expired"):
        verify(token, end)


def test_a_token_is_not_valid_before_its_time() -> None:
    token = tokens.mint(SECRET, subject="1", now_s=NOW, ttl_s=60)

    assert verify(token, NOW - tokens.LEEWAY_S).subject == "1"
    with pytest.raises(tokens.InvalidToken, match="not valid yet"):
        verify(token, NOW - tokens.LEEWAY_S - 0.001)


# What does not


def asymmetric(algorithm: str, key: Any) -> str:
    return jwt.encode(CLAIMS, key, algorithm=algorithm)


def signed_with_public_key() -> str:
    """HMAC with a public key's PEM as the secret: the classic algorithm confusion."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return forge(secret=pem)


def swap(token: str, part: int, text: str) -> str:
    parts = token.split(".")
    parts[part] = text
    return ".".join(parts)


GOOD = forge()
DEEP = b'{"a":' * 600 + b"1" + b"}" * 600
TEXT = json.dumps(CLAIMS)

FORGED = {
    # signature and algorithm
    "other secret": forge(secret=OTHER),
    "empty signature": GOOD.rsplit(".", 1)[0] + ".",
    "no signature part": GOOD.rsplit(".", 1)[0],
    "signature of another token": swap(with_claims(sub="2"), 2, GOOD.split(".")[2]),
    "claims of another token": swap(GOOD, 1, with_claims(sub="2").split(".")[1]),
    "one bit of the signature": GOOD[:-5] + ("A" if GOOD[-5] != "A" else "B") + GOOD[-4:],
    "truncated signature": GOOD[:-4],
    "signature twice": GOOD + "." + GOOD.split(".")[2],
    "alg none": forge(header={"alg": "none"}),
    "alg none unsigned": swap(forge(header={"alg": "none"}), 2, ""),
    "alg None": forge(header={"alg": "None"}),
    "alg nOnE": swap(forge(header={"alg": "nOnE"}), 2, ""),
    "alg null": with_header(alg=None),
    "alg empty": with_header(alg=""),
    "alg missing": with_header(alg=DROP),
    "alg list": with_header(alg=["HS256"]),
    "alg object": with_header(alg={"HS256": 1}),
    "alg number": with_header(alg=256),
    "alg lower case": with_header(alg="hs256"),
    "alg with a space": with_header(alg="HS256 "),
    "alg HS512 as HS256": with_header(alg="HS512"),
    "real HS512": jwt.encode(CLAIMS, SECRET * 2, algorithm="HS512"),
    "real ES256": asymmetric("ES256", ec.generate_private_key(ec.SECP256R1())),
    "real RS256": asymmetric("RS256", rsa.generate_private_key(65537, 2048)),
    "alg ES256 with an HMAC": with_header(alg="ES256"),
    "HMAC under a public key": signed_with_public_key(),
    # header
    "crit unknown": with_header(crit=["exp"], exp=1),
    "crit b64": with_header(crit=["b64"], b64=True),
    "crit empty": with_header(crit=[]),
    "crit text": with_header(crit="b64"),
    "b64 false": with_header(b64=False, crit=["b64"]),
    "b64 false detached": swap(with_header(b64=False, crit=["b64"]), 1, ""),
    "b64 undeclared": with_header(b64=True),
    "kid number": with_header(kid=7),
    "typ id+jwt": with_header(typ="id+jwt"),
    "typ logout+jwt": with_header(typ="logout+jwt"),
    "typ with a parameter": with_header(typ="at+jwt;x=y"),
    "alg twice": forge(header_text=b'{"alg":"HS256","alg":"HS256"}'),
    "a header name twice": forge(header_text=b'{"alg":"HS256","x":{"a":1,"a":2}}'),
    "header NaN": forge(header_text=b'{"alg":"HS256","x":NaN}'),
    "claims NaN": forge(claims_text=(TEXT[:-1] + ', "x": NaN}').encode()),
    "typ JWE": with_header(typ="JWE"),
    "typ null": with_header(typ=None),
    "typ list": with_header(typ=["JWT"]),
    "header list": forge(header=["HS256"]),
    "header text": forge(header_text=b'"HS256"'),
    "header no JSON": forge(header_text=b"{alg:HS256}"),
    "header empty": forge(header_text=b""),
    "header deep": forge(header_text=DEEP),
    "header not UTF-8": forge(header_text=b'{"alg":"HS256","x":"\xff"}'),
    "two algs, the last one none": forge(header_text=b'{"alg":"HS256","alg":"none"}'),
    # times
    "exp missing": with_claims(exp=DROP),
    "exp null": with_claims(exp=None),
    "exp text": with_claims(exp=str(NOW + 60)),
    "exp float of the past": with_claims(exp=NOW - 5.5),
    "exp bool": with_claims(exp=True),
    "exp list": with_claims(exp=[NOW + 60]),
    "exp in 95 years": with_claims(exp=NOW + 95 * 365 * 24 * 3600),
    "exp huge": with_claims(exp=10**300),
    "exp of 2500 digits": with_claims(exp=10**2500),
    "exp infinite": forge(claims_text=TEXT.replace(str(NOW + 60), "1e999").encode()),
    "exp Infinity": forge(claims_text=TEXT.replace(str(NOW + 60), "Infinity").encode()),
    "exp NaN": forge(claims_text=TEXT.replace(str(NOW + 60), "NaN").encode()),
    "exp negative": with_claims(exp=-1),
    "exp long past": with_claims(iat=NOW - 7200, exp=NOW - 3600),
    "iat null": with_claims(iat=None),
    "iat missing, exp in 95 years": with_claims(iat=DROP, exp=NOW + 95 * 365 * 24 * 3600),
    "iat missing, nbf later": with_claims(iat=DROP, nbf=NOW + 30),
    "iat bool": with_claims(iat=True),
    "iat text": with_claims(iat=str(NOW)),
    "iat float of the future": with_claims(iat=NOW + 5.5),
    "iat future": with_claims(iat=NOW + 30),
    "iat after exp": with_claims(iat=NOW + 4, exp=NOW + 3),
    "iat zero": with_claims(iat=0),
    "nbf future": with_claims(nbf=NOW + 30),
    "nbf null": with_claims(nbf=None),
    "nbf text": with_claims(nbf="0"),
    "nbf bool": with_claims(nbf=False),
    # who and for whom
    "iss missing": with_claims(iss=DROP),
    "iss other": with_claims(iss="Scoreboard"),
    "iss list": with_claims(iss=["scoreboard"]),
    "aud missing": with_claims(aud=DROP),
    "aud other": with_claims(aud="scoreboards"),
    "aud empty list": with_claims(aud=[]),
    "aud list of others": with_claims(aud=["scoreboards", "other"]),
    "aud list with a number": with_claims(aud=["scoreboard", 1]),
    "aud null with a client": with_claims(aud=None, client_id="scoreboard", token_use="access"),
    "a client without an access token": with_claims(aud=DROP, client_id="scoreboard"),
    "an id token of Cognito": with_claims(token_use="id"),
    "an id token of Keycloak": with_claims(typ="ID"),
    "a refresh token of Keycloak": with_claims(typ="Refresh"),
    "bound to a key": with_claims(cnf={"jkt": "x"}),
    "aud object": with_claims(aud={"scoreboard": 1}),
    "sub missing": with_claims(sub=DROP),
    "sub null": with_claims(sub=None),
    "sub number": with_claims(sub=1),
    "sub bool": with_claims(sub=True),
    "sub list": with_claims(sub=["1"]),
    "sub empty": with_claims(sub=""),
    "sub too long": with_claims(sub="1" * 256),
    "sub with line break": with_claims(sub="1\r\nadmin: yes"),
    "sub with NUL": with_claims(sub="1\0"),
    "sub Arabic digit": with_claims(sub="١"),
    "sub surrogate": with_claims(sub="\ud800"),
    "sub twice": forge(claims_text=(TEXT[:-1] + ', "sub": "2"}').encode()),
    "exp twice": forge(claims_text=(TEXT[:-1] + f', "exp": {NOW + 99}}}').encode()),
    "a name twice further in": forge(claims_text=(TEXT[:-1] + ', "x": [{"a":1,"a":1}]}').encode()),
    "scope list of numbers": with_claims(scope=[1]),
    "scope object": with_claims(scope={"scores:write:any": True}),
    "scp object": with_claims(scp={"a": 1}),
    "scope null": with_claims(scope=None),
    # claims as a whole
    "claims list": forge(claims=[1]),
    "claims text": forge(claims_text=b'"x"'),
    "claims null": forge(claims_text=b"null"),
    "claims empty object": forge(claims_text=b"{}"),
    "claims empty": forge(claims_text=b""),
    "claims no JSON": forge(claims_text=b"{'sub': '1'}"),
    "claims deep": forge(claims_text=DEEP),
    "claims UTF-16": forge(claims_text=TEXT.encode("utf-16")),
    "claims with BOM": forge(claims_text=b"\xef\xbb\xbf" + TEXT.encode()),
    "claims not UTF-8": forge(claims_text=TEXT.encode()[:-1] + b', "x": "\xff"}'),
    "claims with a tail": forge(claims_text=TEXT.encode() + b"{}"),
    # the text of the token
    "empty": "",
    "dots": "..",
    "one part": "abc",
    "four dots": "....",
    "bad padding": swap(GOOD, 1, GOOD.split(".")[1] + "==="),
    "padding inside": GOOD.replace(".", "=.", 1),
    "standard alphabet": GOOD + "+/",
    "a space before": " " + GOOD,
    "a line break after": GOOD + "\n",
    "a NUL": GOOD + "\0",
    "a surrogate": GOOD + "\ud800",
    "an umlaut": GOOD + "ü",
    "Bearer still there": "Bearer " + GOOD,
    "huge": GOOD + "A" * 1_000_000,
    "huge with right signature": with_claims(extra="x" * 5000),
    "JWE of five parts": GOOD + ".AAAA.AAAA",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_proves_nothing(name: str) -> None:
    with pytest.raises(tokens.InvalidToken):
        verify(FORGED[name])


def test_the_reason_repeats_nothing_of_the_token() -> None:
    """Reasons go to the log, and a token that is only expired elsewhere is still a secret."""
    for name, token in FORGED.items():
        with pytest.raises(tokens.InvalidToken) as caught:
            verify(token)

        assert re.fullmatch(r"[A-Za-z ]{2,30}", str(caught.value)), name


@given(st.text(max_size=60))
def test_no_text_raises_anything_else(token: str) -> None:
    with pytest.raises(tokens.InvalidToken):
        verify(token)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*CLAIMS, "nbf", "scope"]), json_values, min_size=1))
def test_signed_arbitrary_claims_raise_only_invalid_token(claims: dict[str, Any]) -> None:
    try:
        principal = verify(forge(CLAIMS | claims))
    except tokens.InvalidToken:
        return
    assert principal.subject.isascii()


@given(st.dictionaries(st.sampled_from(["alg", "typ", "crit", "b64", "kid", "x"]), json_values))
def test_signed_arbitrary_headers_raise_only_invalid_token(header: dict[str, Any]) -> None:
    try:
        verify(forge(header=HEADER | header))
    except tokens.InvalidToken:
        return
    assert (HEADER | header)["alg"] == "HS256"


@given(st.integers(0, len(GOOD) - 1), st.sampled_from("Aa0-_.= "))
def test_no_single_changed_character_passes(at: int, character: str) -> None:
    changed = GOOD[:at] + character + GOOD[at + 1 :]

    if changed != GOOD:
        with pytest.raises(tokens.InvalidToken):
            verify(changed)


def test_verifying_warns_about_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verify(GOOD)
