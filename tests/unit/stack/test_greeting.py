"""What `make up` offers to try is accepted by the server that it has just started."""

from types import SimpleNamespace
from typing import Any

import pytest

from stack.commands import things_to_try

OPEN: dict[str, str] = {}
GUARDED = {"SCOREBOARD_STREAM_AUTH_REQUIRED": "true"}
SIGNED = {"SCOREBOARD_SIGNATURES_REQUIRED": "true"}


def tried(environment: dict[str, str]) -> str:
    settings = SimpleNamespace(base_url="http://127.0.0.1:3000", environment=environment)
    supervisor: Any = SimpleNamespace(settings=settings, secret="s" * 32, temporal_ui=None)
    return "\n".join(things_to_try(supervisor))


@pytest.mark.parametrize(
    ("environment", "load"),
    [
        (OPEN, "make load "),
        (GUARDED, 'make load ARGS="--stream-auth" '),
        (SIGNED, 'make load ARGS="--signing-key ID:FILE" '),
        (GUARDED | SIGNED, 'make load ARGS="--signing-key ID:FILE --stream-auth" '),
    ],
)
def test_load_is_offered_with_what_the_server_requires(
    environment: dict[str, str], load: str
) -> None:
    assert load in tried(environment)


@pytest.mark.parametrize("environment", [OPEN, GUARDED, SIGNED])
def test_a_token_stands_only_where_it_serves(environment: dict[str, str]) -> None:
    stream = next(line for line in tried(environment).splitlines() if "scores/stream" in line)

    assert ("Bearer" in stream) is (environment is GUARDED)
    assert ("scoreboard sign" in tried(environment)) is (environment is SIGNED)
    assert ("curl -X POST" in tried(environment)) is (environment is not SIGNED)
