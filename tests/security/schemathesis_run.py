"""Runs Schemathesis on a running API: every operation of its own document, every check.

The event stream is left out: an answer without an end is nothing that it can judge.
"""

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from scoreboard.contract import STREAM_PATH
from scoreboard.tokens import SCOPE_ANY_USER, SCOPE_OPERATE, SCOPE_PLAYERS, SCOPE_REVIEW, mint
from tests.support.api import SECRET

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Report:
    """How many requests were generated and sent, and what was wrong with the answers."""

    cases: int
    operations: int
    server_errors: int
    failures: tuple[str, ...]
    output: str


async def schemathesis(
    port: int, folder: Path, *, seed: int, seconds: int | None = None, examples: int | None = None
) -> Report:
    """Run it for about `seconds`, or with at most `examples` of each operation in each phase,
    however long that takes; files go to `folder`."""
    bound = ("--max-time", f"{seconds}") if examples is None else ("--max-examples", f"{examples}")
    bearer = mint(
        SECRET,
        subject="schemathesis",
        now_s=int(time.time()),
        ttl_s=3600,
        scopes=(SCOPE_ANY_USER, SCOPE_REVIEW, SCOPE_OPERATE, SCOPE_PLAYERS),
    )
    report = folder / "schemathesis.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run"),
        f"http://127.0.0.1:{port}/openapi.json",
        *("--header", f"Authorization: Bearer {bearer}"),
        *("--exclude-path", STREAM_PATH),
        *("--checks", "all", *bound, "--seed", str(seed)),
        *("--request-timeout", "10", "--no-shrink", "--continue-on-failure"),
        *("--report", "json", "--report-json-path", str(report)),
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.security.schemathesis_hooks",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    found = json.loads(report.read_bytes())
    failures = found["failures"] + found["errors"]
    return Report(
        cases=found["test_cases"]["generated"],
        operations=found["operations"]["tested"],
        server_errors=sum(each["count"] for each in failures if each["type"] == "ServerError"),
        failures=tuple(f"{each.get('title', each)}: {each.get('operations')}" for each in failures),
        output=output.decode(),
    )
