"""Bearer tokens: each is verified once and trusted until it expires."""

import pytest

from scoreboard.errors import Problem
from scoreboard.keys import Keyring, shared_secret
from scoreboard.tokens import LEEWAY_S, mint
from server.auth.bearer import CACHE_MAX, Authenticator

SECRET = b"s" * 32
NOW_S = 1_800_000_000


class Clock:
    now_s: float = NOW_S

    def __call__(self) -> float:
        return self.now_s


def token(subject: str = "1", ttl_s: int = 60, secret: bytes = SECRET) -> str:
    return mint(secret, subject=subject, now_s=NOW_S, ttl_s=ttl_s)


def authenticator(clock: Clock | None = None) -> Authenticator:
    return Authenticator(Keyring(secret=shared_secret(SECRET)), clock=clock or Clock())


def test_a_bearer_token_names_its_principal() -> None:
    known = authenticator()

    first = known.principal([f"Bearer {token('7')}"])
    second = known.principal([f"bearer {token('7')}"])

    assert (first.subject, second.subject) == ("7", "7")


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Basic dXNlcjpwYXNz"],
        [token()],
        [f"Bearer  {token()}"],
        [f"Bearer {token()} x"],
        [f"Bearer {token()}", f"Bearer {token()}"],
        [f"Bearer {token(secret=b'o' * 32)}"],
        [f"Bearer {token()[:-2]}"],
        ["Bearer ä"],
    ],
)
def test_anything_but_one_valid_bearer_token_is_unauthorized(fields: list[str]) -> None:
    with pytest.raises(Problem) as refused:
        authenticator().principal(fields)

    assert refused.value.kind.status == 401


def test_a_remembered_token_ends_with_its_expiry() -> None:
    clock = Clock()
    known = authenticator(clock)
    fields = [f"Bearer {token(ttl_s=60)}"]
    known.principal(fields)

    clock.now_s = NOW_S + 60 + LEEWAY_S

    with pytest.raises(Problem):
        known.principal(fields)


def test_a_refused_token_is_verified_again() -> None:
    clock = Clock()
    clock.now_s = NOW_S - 3600
    known = authenticator(clock)
    fields = [f"Bearer {token()}"]
    with pytest.raises(Problem):
        known.principal(fields)

    clock.now_s = NOW_S

    assert known.principal(fields).subject == "1"


def test_verified_principal_is_cached_until_the_token_expires() -> None:
    clock = Clock()
    known = authenticator(clock)
    text = token("7")

    first, again = known.verified_principal(text), known.verified_principal(text)
    clock.now_s = NOW_S + 60 + LEEWAY_S

    assert first is not None
    assert first.subject == "7"
    assert first is again
    assert known.verified_principal(text) is None


@pytest.mark.parametrize(
    "around", ["{} ", " {}", "{}\n", "{}\rX: 1", "{}=", "Bearer {}", "ä{}", ""]
)
def test_a_token_with_anything_around_it_proves_nothing(around: str) -> None:
    assert authenticator().verified_principal(around.format(token())) is None


def test_replacing_keys_forgets_verified_tokens() -> None:
    known = authenticator()
    fields = [f"Bearer {token()}"]
    known.principal(fields)

    known.replace_keys(Keyring(secret=shared_secret(b"n" * 32)))

    assert known.verified_principal(token()) is None
    with pytest.raises(Problem):
        known.principal(fields)


def test_memory_for_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.auth.bearer.CACHE_MAX", 8)
    known = authenticator()

    for subject in range(50):
        known.principal([f"Bearer {token(str(subject))}"])

    assert len(known._known) == 8 < CACHE_MAX
