"""`python -m scoreboard_client` as a process: output, exit status, messages."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

import jwt
import pytest
import pytest_asyncio

from scoreboard import sse, tokens
from scoreboard.keys import Keyring, shared_secret
from tests.support.scripted_api import (
    ScriptedApi,
    hello,
    refuse,
    scripted_api,
    snapshot,
    standing,
    stream,
    updates,
)

SECRET = "s" * 32
KEYS = Keyring(secret=shared_secret(SECRET.encode()))


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    async with scripted_api() as running:
        yield running


async def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scoreboard_client",
        *arguments,
        env=clean | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_submit_makes_a_token_for_the_user_and_prints_the_submission(
    api: ScriptedApi,
) -> None:
    status, out, _ = await run(
        "submit",
        "--user",
        "7",
        "--increment",
        "-3",
        "--key",
        "k",
        SCOREBOARD_URL=api.url,
        SCOREBOARD_JWT_SECRET=SECRET,
    )

    assert status == 0
    assert json.loads(out) == {"submissionId": "id-of-k", "idempotencyKey": "k", "attempts": 1}
    assert api.effects == {"k": {"userId": 7, "increment": -3}}
    token = api.tokens[0].removeprefix("Bearer ")
    now_s = jwt.decode(token, options={"verify_signature": False})["iat"]
    assert tokens.verify(token, KEYS, now_s=now_s).subject == "7"


async def test_submit_reads_the_secret_from_a_file(
    api: ScriptedApi, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("secret") / "jwt-secret"
    file.write_text(SECRET + "\n")

    status, _, _ = await run(
        "--url", api.url, "submit", "--user", "1", "--increment", "1", "--secret-file", str(file)
    )

    assert status == 0
    assert len(api.effects) == 1


async def test_refusal_exits_1_with_the_servers_words(api: ScriptedApi) -> None:
    api.answers = [refuse(403, "forbidden")]

    status, out, err = await run(
        "--url", api.url, "submit", "--user", "1", "--increment", "1", SCOREBOARD_TOKEN="t"
    )

    assert (status, out) == (1, "")
    assert err == "scoreboard_client: 403 forbidden: Title of forbidden (because)\n"


async def test_unknown_effect_exits_3_and_names_the_key(api: ScriptedApi) -> None:
    api.answers = [refuse(500, "internal", Retry_After="9")]

    status, _, err = await run(
        "--url",
        api.url,
        "--deadline-s",
        "1",
        "submit",
        "--user",
        "1",
        "--increment",
        "1",
        "--key",
        "my-key",
        SCOREBOARD_TOKEN="t",
    )

    assert status == 3
    assert "effect unknown" in err
    assert "my-key" in err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("submit", "--user", "1"),
        ("submit", "--user", "x", "--increment", "1"),
        ("submit", "--user", "1", "--increment", "1"),
        ("submit", "--user", "1", "--increment", "1", "--secret-file", "/nowhere/secret"),
        ("follow", "--count", "0"),
        ("--url", "nonsense", "top"),
    ],
)
async def test_unusable_arguments_exit_2_without_a_traceback(arguments: tuple[str, ...]) -> None:
    status, out, err = await run(*arguments)

    assert (status, out) == (2, "")
    assert "Traceback" not in err
    assert err.strip()


async def test_top_prints_places_scores_and_names(api: ScriptedApi) -> None:
    api.scores = [standing("Alice", 1500), standing("Bob", 1400)]

    status, out, _ = await run("--url", api.url, "top")

    assert status == 0
    assert [line.split() for line in out.splitlines()] == [
        ["1", "1,500", "Alice"],
        ["2", "1,400", "Bob"],
    ]


async def test_top_as_json_carries_the_seq(api: ScriptedApi) -> None:
    api.scores, api.seq = [standing("Alice", 1500)], 3

    _, out, _ = await run("--url", api.url, "top", "--json")

    assert json.loads(out) == {"seq": 3, "scores": [{"user": "Alice", "score": 1500}]}


async def test_follow_prints_a_line_per_event_and_stops_at_the_count(api: ScriptedApi) -> None:
    api.streams = [
        stream(hello(4), snapshot(sse.SNAPSHOT, 4, standing("Alice", 4)), updates(5)),
        stream(hello(5), updates(6, 7), then="stay"),
    ]

    status, out, _ = await run("--url", api.url, "follow", "--snapshot", "--count", "3")

    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [(line["event"], line["seq"]) for line in lines] == [
        ("snapshot", 4),
        ("update", 5),
        ("update", 6),
    ]
    assert lines[1]["committedUs"] == 1005


async def test_unreachable_server_exits_1_with_a_reason() -> None:
    status, _, err = await run("--url", "http://127.0.0.1:9", "--deadline-s", "0.2", "top")

    assert status == 1
    assert "127.0.0.1:9" in err
    assert "Traceback" not in err
