"""The README's commands and snippets as they are printed, at another port, against the pipeline.

A row of the feature table that begins with `curl` or `scoreboard` must be tried here.
"""

import ast
import asyncio
import contextlib
import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.support.api import SECRET, Api, token

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
STREAM_S = 2.0
"""How long a command that never ends by itself is watched."""
GIVES = {
    "top ten, paging, ETag": ["HTTP/1.1 200", "etag: ", '"user":"Bob"'],
    "exactly once": ['"submissionId":"{id}"'],
    "event streams without gaps": ["event: snapshot", '"user":"Alice"'],
    "outcome of a submission": ['"submissionId":"{id}"', '"status":"'],
    "up to 500 submissions in one request": ['"status":202'],
    "rank and neighbours": ['"rank":1'],
    "rate limits, exact in every window": ['"status":429'],
    "fraud rules": ['"submissionId":"'],
    "players": ['"user":"Robert"'],
    "Python client and command line": ["snapshot", '"submissionId":"', '"status":"'],
    "OpenAPI document": ['"openapi"'],
    "metrics, dashboards": ["scoreboard_"],
}
"""What the output of each row contains, by the beginning of its feature."""
LAST = ("rate limits",)
"""Rows after which the user must wait."""


def rows() -> dict[str, list[str]]:
    """The commands of the feature table by feature."""
    table = README.split("| feature | try it |")[1].split("\n\n")[0]
    found = {}
    for line in table.splitlines()[2:]:
        feature, tried = re.split(r"(?<!\\)\|", line)[1:3]
        commands = [c.replace("\\|", "|") for c in re.findall(r"`([^`]+)`", tried)]
        found[feature.strip()] = [c for c in commands if c.startswith(("curl", "scoreboard"))]
    return {feature: commands for feature, commands in found.items() if commands}


def expected(feature: str) -> list[str]:
    return next(wanted for start, wanted in GIVES.items() if feature.startswith(start))


async def shell(command: str, api: Api) -> str:
    """What the command prints on both streams, within a moment when it has no end."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SCOREBOARD_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SCOREBOARD_URL": api.url,
        "SCOREBOARD_JWT_SECRET": SECRET.decode(),
        "TOKEN": token(1),
    }
    follows = "/stream" in command or " follow" in command
    process = await asyncio.create_subprocess_exec(
        *("timeout", str(STREAM_S if follows else 30), "bash", "-c", command),
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == (124 if follows else 0), printed.decode()
    return printed.decode()


async def test_commands_of_the_feature_table_work_as_printed(api: Api) -> None:
    known = json.loads(
        await shell(
            f"curl -s -X POST {api.url}/scores/update -H 'Idempotency-Key: a' "
            '-H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" '
            """-d '{"userId":1,"increment":10}'""",
            api,
        )
    )["submissionId"]
    for feature, commands in sorted(rows().items(), key=lambda row: row[0].startswith(LAST)):
        printed = ""
        for command in commands:
            command = command.replace("localhost:3000", f"127.0.0.1:{api.port}")
            printed += await shell(command.replace("<submissionId>", known), api)

        for wanted in expected(feature):
            assert wanted.replace("{id}", known) in printed, (feature, printed)


def snippets() -> list[str]:
    return [
        text for text in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "client" in text
    ]


@pytest.mark.parametrize("snippet", snippets(), ids=lambda text: text.split()[3])
async def test_python_snippets_run_as_printed(
    snippet: str, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    code = compile(
        snippet.replace("http://localhost:3000", api.url),
        "README.md",
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
    )
    names = {"token": token(1)}

    async def run() -> None:
        if code.co_flags & 0x80:
            await eval(code, names)
        else:
            await asyncio.to_thread(exec, code, names)

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(run(), STREAM_S + 3)

    assert re.search(r"Alice\W+(score=)?15", capsys.readouterr().out)
