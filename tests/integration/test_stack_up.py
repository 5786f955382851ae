"""`make up` as a person and as a tool meet it: sentences, state file, control, restarts."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from scoreboard.keys import Keyring, shared_secret
from scoreboard.tokens import SCOPE_ANY_USER, verify
from tests.support.eventually import eventually_sync
from tests.support.services import execute_sync
from tests.support.stack_run import ROOT, StackRun, clean_environment, stack_run


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StackRun, object]]:
    """A stack that is ready, and its board before any test of this module changed it."""
    with stack_run(tmp_path_factory.mktemp("up") / "größe und mehr") as run:
        run.until_ready()
        with urllib.request.urlopen(f"{run.state['base_url']}/scores", timeout=5) as answer:
            yield run, json.load(answer)


@pytest.fixture(scope="module")
def running(started: tuple[StackRun, object]) -> StackRun:
    """The stack, shared by the tests of this module, each of which leaves it ready."""
    return started[0]


def program(
    data_dir: Path, *words: str, timeout_s: float = 30, **settings: str
) -> subprocess.CompletedProcess[str]:
    """A module of Python, run to its end beside the stack of this folder."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**clean_environment(data_dir), **settings},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def stack_command(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return program(data_dir, "stack", *arguments)


def test_the_state_file_tells_a_tool_all_it_needs(running: StackRun) -> None:
    state = running.state

    assert state["version"] == 1
    assert state["supervisor_pid"] == running.popen.pid
    assert state["data_dir"] == str(running.data_dir)
    assert set(state["urls"]) == {"mysql", "redis", "temporal", "temporal_ui"}
    assert set(state["processes"]) == {"mysql", "redis", "temporal", "worker", "server"}
    for process in state["processes"].values():
        assert set(process) == {"pid", "port", "log", "restarts"}
        os.kill(process["pid"], 0)
        assert Path(process["log"]).exists()


def test_a_first_start_has_two_users_to_try(started: tuple[StackRun, object]) -> None:
    assert started[1] == [
        {"user": "Alice", "score": 1500, "userId": 1},
        {"user": "Bob", "score": 1400, "userId": 2},
    ]


def test_files_with_secrets_are_private(running: StackRun) -> None:
    for name in ("state.json", "jwt-secret", "mysql/password", "control.sock"):
        assert stat.S_IMODE((running.data_dir / name).stat().st_mode) == 0o600, name


def test_ready_names_the_three_things_to_try(running: StackRun) -> None:
    eventually_sync(lambda: "make load" in running.output.read_text())
    shown = running.output.read_text()

    assert "curl -N http://localhost:" in shown
    assert running.state["urls"]["temporal_ui"] in shown
    assert "Traceback" not in shown


def test_second_up_names_the_running_stack(running: StackRun) -> None:
    second = stack_command(running.data_dir, "up", "--port", "0")

    assert second.returncode == 1
    assert second.stderr.startswith(
        f"error: Scoreboard is already running as process {running.popen.pid}"
    )
    assert len(second.stderr.splitlines()) == 1
    assert running.state["ready"]


def test_an_up_while_the_one_before_still_stops_waits_and_starts(tmp_path: Path) -> None:
    with stack_run(tmp_path / "data") as first:
        first.until_ready()
        # So its end takes a moment.
        os.kill(first.state["processes"]["server"]["pid"], signal.SIGSTOP)
        first.popen.send_signal(signal.SIGINT)
        eventually_sync(lambda: first.state["stopping"])
        assert not first.state["ready"]

        with stack_run(tmp_path / "data") as second:
            second.until_ready()

    assert first.popen.wait(5) == 0
    assert "is still stopping; waiting" in second.output.read_text()


def test_taken_port_is_reported_in_one_sentence_with_a_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        up = stack_command(tmp_path / "data", "up", "--port", str(port))

    assert up.returncode == 1
    assert up.stderr.splitlines() == [
        f"error: Port {port} is in use by another program. "
        f"Choose another for the server: make up PORT={port + 1}"
    ]
    assert not (tmp_path / "data" / "state.json").exists()


def test_a_short_secret_is_refused_before_anything_starts(tmp_path: Path) -> None:
    up = program(tmp_path, *("stack", "up", "--port", "0"), SCOREBOARD_JWT_SECRET="short")

    assert up.returncode == 2
    assert up.stderr.splitlines() == ["error: SCOREBOARD_JWT_SECRET must have at least 32 bytes"]
    assert not (tmp_path / "mysql").exists()


def test_tokens_speak_for_their_user_to_the_running_server(running: StackRun) -> None:
    keys = Keyring(secret=shared_secret((running.data_dir / "jwt-secret").read_bytes().strip()))

    own = stack_command(running.data_dir, "token", "--user", "7").stdout.strip()
    wide = stack_command(running.data_dir, "token", "--user", "7", "--scope", SCOPE_ANY_USER)

    assert not verify(own, keys, now_s=time.time()).may_update(8)
    assert verify(own, keys, now_s=time.time()).may_update(7)
    assert verify(wide.stdout.strip(), keys, now_s=time.time()).may_update(8)


def test_locust_adds_the_users_of_its_run_to_a_fresh_stack(
    running: StackRun, tmp_path: Path
) -> None:
    done = program(
        running.data_dir,
        *("locust", "-f", "loadtests", "--headless", "--only-summary"),
        *("--rate", "50", "--listeners", "5", "--players", "50"),
        *("--warmup", "1", "--duration", "2", "--late-limit", "5s", "--slo", "none"),
        *("--results", str(tmp_path)),
        timeout_s=90,
    )

    assert done.returncode == 0, done.stderr
    assert "150 acknowledged" in done.stderr


def test_a_killed_worker_comes_back_and_is_counted(running: StackRun) -> None:
    before = running.state["processes"]["worker"]

    killed = running.ask(op="kill", process="worker")

    assert killed == {"ok": True, "pid": before["pid"]}

    def worker() -> Any:
        return running.ask(op="status")["processes"]["worker"]

    eventually_sync(
        lambda: worker()["state"] == "up" and worker()["restarts"] == before["restarts"] + 1,
        timeout_s=20,
    )
    assert running.state["processes"]["worker"]["pid"] != before["pid"]
    assert "worker was ended by SIGKILL; starting it again" in running.output.read_text()


def test_a_service_killed_from_outside_comes_back_at_its_address(running: StackRun) -> None:
    before = running.state["processes"]["mysql"]
    os.kill(before["pid"], signal.SIGKILL)

    eventually_sync(lambda: running.ask(op="status")["processes"]["mysql"]["pid"] != before["pid"])
    eventually_sync(lambda: running.ask(op="status")["processes"]["mysql"]["state"] == "up")
    assert execute_sync(running.state["urls"]["mysql"], "SELECT 1") == ((1,),)
    assert running.state["processes"]["mysql"]["port"] == before["port"]


def test_a_service_stopped_on_request_stays_down_until_started(running: StackRun) -> None:
    url = running.state["urls"]["redis"]
    with redis.Redis.from_url(url) as client:
        client.set("kept", 1)

    assert running.ask(op="stop", process="redis") == {"ok": True}
    stopped = running.ask(op="status")["processes"]["redis"]
    with redis.Redis.from_url(url) as client, pytest.raises(redis.ConnectionError):
        client.ping()

    assert (stopped["state"], stopped["pid"]) == ("stopped", None)
    assert running.ask(op="start", process="redis")["ok"]
    with redis.Redis.from_url(url) as client:
        assert client.get("kept") == b"1"


def test_redis_is_closed_to_whoever_has_no_password(running: StackRun) -> None:
    port = running.state["processes"]["redis"]["port"]
    pid = running.state["processes"]["redis"]["pid"]
    password = urlsplit(running.state["urls"]["redis"]).password

    with (
        redis.Redis(host="127.0.0.1", port=port) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()

    assert password
    assert password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_wiped_service_starts_empty(running: StackRun) -> None:
    with redis.Redis.from_url(running.state["urls"]["redis"]) as client:
        client.set("forgotten", 1)

    refused = running.ask(op="start", process="redis", wipe=True)
    running.ask(op="stop", process="redis")
    assert running.ask(op="start", process="redis", wipe=True)["ok"]

    assert refused == {"ok": False, "error": "redis runs; stop it before its data is wiped"}
    with redis.Redis.from_url(running.state["urls"]["redis"]) as client:
        assert client.get("forgotten") is None


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"op": "dance"}, "op must be one of"),
        ({"op": "stop", "process": "oracle"}, "process must be one of"),
        ({"op": "start", "process": "worker", "wipe": True}, "worker runs"),
    ],
)
def test_control_socket_explains_invalid_requests(
    running: StackRun, request_: dict[str, object], error: str
) -> None:
    answer = running.ask(**request_)

    assert answer["ok"] is False
    assert answer["error"].startswith(error)
