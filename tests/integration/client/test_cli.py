"""`python -m scoreboard_client` as a process: output, exit status, messages."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest
import pytest_asyncio
from aiohttp import web

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


async def run(
    *arguments: str, program: str = "scoreboard_client", **environment: str
) -> tuple[int, str, str]:
    """Exit status, stdout, stderr; away from the data folder of a stack that may run here."""
    environment = {"SCOREBOARD_DATA_DIR": "/nowhere"} | environment
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        program,
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
    assert err == "error: 403 forbidden: Title of forbidden (because)\n"


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
        ("submit", "--user", "1", "--increment", "0"),
        ("submit", "--user", "0", "--increment", "1"),
        ("top", "--deadline-s", "nan"),
        ("--url", "nonsense", "top"),
    ],
)
async def test_unusable_arguments_exit_2_without_a_traceback(arguments: tuple[str, ...]) -> None:
    status, out, err = await run(*arguments)

    assert (status, out) == (2, "")
    assert "Traceback" not in err
    assert err.strip()


async def test_an_increment_of_zero_is_refused_in_words() -> None:
    _, _, err = await run("submit", "--user", "1", "--increment", "0")

    assert err.startswith(
        "error: --increment must be a whole number from -1000000 to 1000000 that is not 0"
    )


@pytest.mark.parametrize("program", ["scoreboard_client", "scoreboard_cli"])
async def test_options_may_stand_before_and_after_the_command(
    api: ScriptedApi, program: str
) -> None:
    api.scores = [standing("Alice", 1500)]

    before = await run("--url", api.url, "top", "--json", program=program)
    after = await run("top", "--json", "--url", api.url, program=program)

    assert before == after
    assert before[0] == 0


@pytest.mark.parametrize(
    ("status", "code"), [("applied", 0), ("rejected", 1), ("pending", 3), ("held", 3)]
)
async def test_outcome_exit_code_tells_the_submissions_outcome(
    api: ScriptedApi, status: str, code: int
) -> None:
    tokens_seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        tokens_seen.append(request.headers["Authorization"].removeprefix("Bearer "))
        return web.json_response({"submissionId": "id-1", "status": status, "score": 15, "seq": 7})

    api.answers = [answer]

    said = await run("outcome", "id-1", "--url", api.url, SCOREBOARD_JWT_SECRET=SECRET)

    assert said[0] == code
    assert json.loads(said[1]) == {
        "submissionId": "id-1",
        "status": status,
        "score": 15,
        "seq": 7,
    }
    now_s = jwt.decode(tokens_seen[0], options={"verify_signature": False})["iat"]
    assert tokens.verify(tokens_seen[0], KEYS, now_s=now_s).may_update(999)


def stack_of(api: ScriptedApi, folder: Path) -> None:
    """The data folder of a stack whose server is `api`."""
    (folder / "jwt-secret").write_text(SECRET)
    state = {
        "ready": True,
        "supervisor_pid": os.getpid(),
        "base_url": api.url,
        "jwt_secret_file": str(folder / "jwt-secret"),
    }
    (folder / "state.json").write_text(json.dumps(state))


async def test_the_running_stack_is_found_with_its_secret(api: ScriptedApi, tmp_path: Path) -> None:
    stack_of(api, tmp_path)
    words = ("submit", "--user", "7", "--increment", "1")

    status, _, _ = await run(*words, SCOREBOARD_DATA_DIR=str(tmp_path))
    elsewhere, _, err = await run(
        *words, "--url", "http://127.0.0.1:9", SCOREBOARD_DATA_DIR=str(tmp_path)
    )

    assert status == 0
    assert len(api.effects) == 1
    assert elsewhere == 2
    assert "set SCOREBOARD_TOKEN or SCOREBOARD_JWT_SECRET" in err


async def test_follow_makes_a_token_where_it_knows_the_secret(
    api: ScriptedApi, tmp_path: Path
) -> None:
    stack_of(api, tmp_path)
    api.streams = [stream(hello(4), updates(5), then="stay") for _ in range(3)]
    words = ("follow", "--url", api.url, "--count", "1")

    found = await run(*words, SCOREBOARD_DATA_DIR=str(tmp_path))
    given = await run(*words, SCOREBOARD_TOKEN="mine")
    stranger = await run(*words)

    assert [status for status, _, _ in (found, given, stranger)] == [0, 0, 0]
    made, own, none = api.tokens
    token = made.removeprefix("Bearer ")
    now_s = jwt.decode(token, options={"verify_signature": False})["iat"]
    assert tokens.verify(token, KEYS, now_s=now_s).subject == "operator"
    assert (own, none) == ("Bearer mine", "")


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
    assert err.endswith("error: no answer from http://127.0.0.1:9: connection refused\n")


async def test_follow_gives_up_after_the_deadline() -> None:
    began_s = time.monotonic()

    status, _, err = await run("follow", "--url", "http://127.0.0.1:9", "--deadline-s", "0.5")

    assert status == 1
    assert err.endswith("error: no answer from http://127.0.0.1:9: connection refused\n")
    assert time.monotonic() - began_s < 20


async def test_follow_says_that_it_waits_and_for_what() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scoreboard_client", "follow", "--url", "http://127.0.0.1:9"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        line = await asyncio.wait_for(process.stderr.readline(), 30)
    finally:
        process.kill()
        await process.wait()

    assert line.startswith(b"waiting for http://127.0.0.1:9 (connection refused), retrying in ")
