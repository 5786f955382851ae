"""Whatever happens at the end of a run, or before its first byte, the answer is the right one."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.engines.standalone import null_server
from tests.support.eventually import eventually_sync

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


def result(results: Path) -> dict[str, Any]:
    [path] = results.glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def sent(results: Path) -> bool:
    """Whether submissions flow: the history of them grows."""
    return any(p.stat().st_size > 60_000 for p in results.glob("*/history-flood-0.jsonl"))


def test_server_killed_in_mid_run_leaves_a_result_that_names_the_moment(tmp_path: Path) -> None:
    with null_server(players=100) as (url, pid):
        process = load(url, tmp_path, "--duration", "10")
        eventually_sync(lambda: sent(tmp_path), timeout_s=60)
        os.kill(pid, signal.SIGKILL)
        out, err = process.communicate(timeout=90)

    document = result(tmp_path)
    assert process.returncode == 1, err
    assert document["verdict"]["correctness"] == "unknown"
    assert document["verdict"]["valid"]
    assert not document["verdict"]["within_slo"]
    [fault] = document["faults"]
    assert "the server fell over at 200/s offered" in fault["name"]
    assert "fell over" in out
    assert "could not be read at the end" in out


def test_second_interrupt_ends_the_waiting_and_the_result_is_there(tmp_path: Path) -> None:
    with null_server(players=100) as (url, pid):
        process = load(url, tmp_path, "--duration", "600")
        eventually_sync(lambda: sent(tmp_path), timeout_s=60)
        os.kill(pid, signal.SIGSTOP)
        try:
            process.send_signal(signal.SIGINT)
            eventually_sync(lambda: any(tmp_path.glob("*.json")), timeout_s=30)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            os.kill(pid, signal.SIGCONT)

    assert process.returncode in (1, 3), err
    assert "Traceback" not in err
    document = result(tmp_path)
    assert document["verdict"]["correctness"] == "unknown"
    assert document["totals"]["ok"] > 0


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
        (b"302 Found\r\nLocation: http://elsewhere:1", "redirects to http://elsewhere:1"),
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
