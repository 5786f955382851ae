"""Tokens and JWKS documents shaped like those of identity providers, from their documentation.

Written here, with keys made here. Each provider: the settings an operator gives, one access token
that must pass, and the changes that must not.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from scoreboard.keys import Keyring, parse_jwks, shared_secret
from scoreboard.tokens import InvalidToken, TokenPolicy, mint, verify
from tests.unit.scoreboard.test_keys import ED_KEY, RSA_KEY, jwk

NOW = 1_800_000_000
SECRET = b"own secret of this board, 32 bytes"
CERTIFICATE = {
    "x5t": "NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4QzQ2MDAyQjVDNjk1RTM2Qg",
    "x5c": ["MIIC+DCCAeCgAwIB"],
}


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A provider's habits; `user` and `scopes` are what this board makes of its token."""

    policy: TokenPolicy
    header: dict[str, Any]
    claims: dict[str, Any]
    keys: list[dict[str, Any]]
    user: str
    scopes: set[str] = field(default_factory=set)
    algorithm: str = "RS256"


def policy(issuer: str, audience: str, **changed: Any) -> TokenPolicy:
    return TokenPolicy(issuers=frozenset({issuer}), audiences=frozenset({audience}), **changed)


AUTH0 = Provider(
    policy=policy(
        "https://tenant.eu.auth0.com/",
        "https://board.example/api",
        user_claim="https://board.example/user_id",
    ),
    header={"typ": "JWT", "kid": "NEMyMkE1"},
    claims={
        "https://board.example/user_id": 1,
        "iss": "https://tenant.eu.auth0.com/",
        "sub": "google-oauth2|117223344556677889900",
        "aud": ["https://board.example/api", "https://tenant.eu.auth0.com/userinfo"],
        "iat": NOW,
        "exp": NOW + 86_400,
        "azp": "my_client_id",
        "scope": "openid profile scores:write:any",
        "permissions": ["scores:review"],
        "gty": "password",
    },
    keys=[
        jwk(RSA_KEY, "NEMyMkE1", alg="RS256", use="sig") | CERTIFICATE,
        jwk(rsa.generate_private_key(65537, 2048), "older", alg="RS256", use="sig"),
    ],
    user="1",
    scopes={"openid", "profile", "scores:write:any", "scores:review"},
)
KEYCLOAK = Provider(
    policy=policy(
        "https://id.example/realms/game",
        "scoreboard",
        user_claim="player_id",
        scope_claims=("scope", "resource_access.scoreboard.roles"),
    ),
    header={"typ": "JWT", "kid": "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE"},
    claims={
        "exp": NOW + 300,
        "iat": NOW,
        "auth_time": NOW - 5,
        "jti": "onrtac:0cb7a1c6-1d8f-4a8e-9f0c-0b1f8d7c5b0e",
        "iss": "https://id.example/realms/game",
        "aud": ["scoreboard", "account"],
        "sub": "f:aa0bd6c8-3d4c-4bb5-bd0e-1a4c8c6f3a3e:alice",
        "typ": "Bearer",
        "azp": "game-client",
        "sid": "ae8c",
        "acr": "1",
        "allowed-origins": ["https://game.example"],
        "realm_access": {"roles": ["offline_access", "uma_authorization"]},
        "resource_access": {"scoreboard": {"roles": ["scores:operate"]}, "account": {"roles": []}},
        "scope": "openid email",
        "player_id": "1",
        "preferred_username": "alice",
    },
    keys=[
        jwk(rsa.generate_private_key(65537, 2048), "enc-1", alg="RSA-OAEP", use="enc")
        | CERTIFICATE,
        jwk(RSA_KEY, "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE", alg="RS256", use="sig")
        | CERTIFICATE,
    ],
    user="1",
    scopes={"openid", "email", "scores:operate"},
)
OKTA = Provider(
    policy=policy("https://dev-1.okta.com/oauth2/default", "api://default", user_claim="uid"),
    header={"kid": "U5R8cHbGw445Qbq8zVO1PcCpXL8yG6IcovVa3laCoxM"},
    claims={
        "ver": 1,
        "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
        "iss": "https://dev-1.okta.com/oauth2/default",
        "aud": "api://default",
        "iat": NOW,
        "exp": NOW + 3600,
        "cid": "nmdP1fcyvdVO11AL7ECm",
        "uid": "00ulteypghNn6GQcD5d6",
        "scp": ["openid", "scores:review"],
        "sub": "alice@example.org",
    },
    keys=[jwk(RSA_KEY, "U5R8cHbGw445Qbq8zVO1PcCpXL8yG6IcovVa3laCoxM", alg="RS256", use="sig")],
    user="00ulteypghNn6GQcD5d6",
    scopes={"openid", "scores:review"},
)
ENTRA = Provider(
    policy=policy(
        "https://login.microsoftonline.com/72f988bf/v2.0",
        "6e74172b-be56-4843-9ff4-e66a39bb12e3",
        user_claim="oid",
        scope_claims=("scp", "roles"),
    ),
    header={"typ": "JWT", "kid": "T1St-dLTvyWRgxB_676u8krXS-I"},
    claims={
        "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
        "iss": "https://login.microsoftonline.com/72f988bf/v2.0",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 4_711,
        "aio": "AXQAi/8IAAAAtAaZLo3ChMif6KOnttRB7eBq4",
        "azp": "6e74172b",
        "azpacr": "0",
        "name": "Alice",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "rh": "0.AXEA",
        "roles": ["scores:operate"],
        "scp": "access_as_user Scores.Read",
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": "72f988bf",
        "uti": "fqiBqXLPj0eQa82S-IYFAA",
        "ver": "2.0",
    },
    # No alg, but an issuer and a certificate each.
    keys=[
        jwk(RSA_KEY, "T1St-dLTvyWRgxB_676u8krXS-I", use="sig", issuer="https://login.example/")
        | CERTIFICATE,
        jwk(rsa.generate_private_key(65537, 2048), "second", use="sig") | CERTIFICATE,
    ],
    user="690222be-ff1a-4d56-abd1-7e4f7d38e474",
    scopes={"access_as_user", "Scores.Read", "scores:operate"},
)
COGNITO = Provider(
    policy=policy(
        "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Example",
        "xxxxxxxxxxxxexample",
        user_claim="username",
        scope_claims=("scope", "cognito:groups"),
    ),
    header={"kid": "1234example="},
    claims={
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "device_key": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "cognito:groups": ["reviewers"],
        "token_use": "access",
        "scope": "aws.cognito.signin.user.admin scores/write",
        "auth_time": NOW - 10,
        "iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Example",
        "exp": NOW + 3600,
        "iat": NOW,
        "version": 2,
        "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        # No aud in an access token.
        "client_id": "xxxxxxxxxxxxexample",
        "username": "1",
    },
    keys=[
        jwk(RSA_KEY, "1234example=", alg="RS256", use="sig"),
        jwk(rsa.generate_private_key(65537, 2048), "5678example=", alg="RS256", use="sig"),
    ],
    user="1",
    scopes={"aws.cognito.signin.user.admin", "scores/write", "reviewers"},
)
GOOGLE = Provider(
    policy=policy("https://accounts.google.com", "1234987819200.apps.googleusercontent.com"),
    header={"alg": "RS256", "kid": "f2e82732b971a135cf1416e8b46dae04d80894e7", "typ": "JWT"},
    claims={
        "iss": "https://accounts.google.com",
        "azp": "1234987819200.apps.googleusercontent.com",
        "aud": "1234987819200.apps.googleusercontent.com",
        "sub": "10769150350006150715113082367",
        "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        "email_verified": True,
        "iat": NOW,
        "exp": NOW + 3600,
    },
    keys=[
        {"n": jwk(RSA_KEY)["n"], "e": "AQAB", "kty": "RSA", "use": "sig", "alg": "RS256"}
        | {"kid": "f2e82732b971a135cf1416e8b46dae04d80894e7"},
        jwk(rsa.generate_private_key(65537, 2048), "d4e06", alg="RS256", use="sig"),
    ],
    user="10769150350006150715113082367",
)
ZITADEL = Provider(
    policy=policy("https://game.zitadel.cloud", "257787991247192577"),
    header={"alg": "EdDSA", "kid": "ed-1", "typ": "at+JWT"},
    claims={
        "iss": "https://game.zitadel.cloud",
        "sub": "257786801931976705",
        "aud": ["257787991247192577", "257786801931976700"],
        "exp": NOW + 43_199.5,
        "iat": NOW - 0.25,
        "nbf": NOW,
        "client_id": "257787991247192577",
        "jti": "V2_257-at_1",
    },
    keys=[jwk(ED_KEY, "ed-1", alg="EdDSA") | {"key_ops": ["verify"]}],
    user="257786801931976705",
    algorithm="EdDSA",
)

PROVIDERS = {
    "Auth0": AUTH0,
    "Keycloak": KEYCLOAK,
    "Okta": OKTA,
    "Entra ID": ENTRA,
    "Cognito": COGNITO,
    "Google": GOOGLE,
    "RFC 9068 (as ZITADEL's)": ZITADEL,
}


def token(provider: Provider, **changed: Any) -> str:
    claims = {n: v for n, v in (provider.claims | changed).items() if v is not None}
    private: Any = ED_KEY if provider.algorithm == "EdDSA" else RSA_KEY
    headers = {"typ": None} | provider.header
    return jwt.encode(claims, private, algorithm=provider.algorithm, headers=headers)


def keyring(provider: Provider) -> Keyring:
    document = json.dumps({"keys": provider.keys}).encode()
    return Keyring(secret=shared_secret(SECRET), sets=(parse_jwks(document),))


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_access_token_names_its_user_and_scopes(name: str) -> None:
    provider = PROVIDERS[name]

    principal = verify(token(provider), keyring(provider), now_s=NOW, policy=provider.policy)

    assert principal.subject == provider.user
    assert principal.scopes == provider.scopes
    assert principal.may_update(1) == (
        provider.user == "1" or "scores:write:any" in provider.scopes
    )


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_boards_own_tokens_stay_valid_beside_it(name: str) -> None:
    provider = PROVIDERS[name]
    own = mint(SECRET, subject="7", now_s=NOW, ttl_s=60)

    assert verify(own, keyring(provider), now_s=NOW, policy=provider.policy).subject == "7"


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example/"},
        {"iss": "scoreboard"},
        {"aud": "another-api", "client_id": "another"},
        {"aud": ["another-api"], "client_id": "another"},
        {"exp": NOW - 6},
        {"exp": None},
        {"nbf": NOW + 60},
        {"iat": NOW + 60},
        {"token_use": "id"},
        {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}},
    ],
    ids="-".join,
)
def test_what_is_not_for_this_board_is_refused(name: str, changed: dict[str, Any]) -> None:
    provider = PROVIDERS[name]

    with pytest.raises(InvalidToken):
        verify(token(provider, **changed), keyring(provider), now_s=NOW, policy=provider.policy)


def test_a_token_without_the_user_claim_speaks_for_no_user() -> None:
    """A service's token has a subject of its own, which must not pass for a player's id."""
    changed = {
        "https://board.example/user_id": None,
        "sub": "1",
        "scope": None,
        "permissions": None,
    }

    principal = verify(token(AUTH0, **changed), keyring(AUTH0), now_s=NOW, policy=AUTH0.policy)

    assert principal.subject == "sub:1"
    assert not principal.may_update(1)


def test_a_long_subject_counts_as_itself_and_as_nobody_else() -> None:
    long = [f"samlp|company|{'x' * 80}{n}@example.org" for n in range(2)]

    found = [
        verify(token(GOOGLE, sub=sub), keyring(GOOGLE), now_s=NOW, policy=GOOGLE.policy).subject
        for sub in (*long, long[0])
    ]

    assert found[0] == found[2] != found[1]
    assert all(len(subject) <= 64 for subject in found)
