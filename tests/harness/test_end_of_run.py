"""Whatever happens at the end of a run, or before its first byte, the answer is the right one."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives every request on a connection the same answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    if connection.recv(65536):
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


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
