"""Whatever happens at the end of a run, or before its first byte, the answer is the right one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.trouble.stage import answering

ROOT = Path(__file__).parents[2]
SHORT = (
    *("--rate", "200", "--listeners", "10", "--players", "100", "--warmup", "1"),
    *("--late-limit", "5000", "--no-ceiling"),
)


def load(url: str, results: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = ("-m", "harness", "load", "--host", url, "--results", str(results), *SHORT)
    return subprocess.Popen(
        [sys.executable, *command, *arguments],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"404 Not Found", "is this the address of a scoreboard"),
        (b"503 Service Unavailable", "wait until /readyz answers 200"),
    ],
)
def test_preflight_stops_before_any_load_with_status_and_advice(
    tmp_path: Path, head: bytes, told: str
) -> None:
    with answering(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\n\r\n") as url:
        process = load(url, tmp_path, "--duration", "1")
        _, err = process.communicate(timeout=60)

    assert process.returncode == 3
    assert told in err
    assert list(tmp_path.glob("*.json")) == []
