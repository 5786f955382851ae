"""The whole command, from Locust's master to the exit code, against the null server."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import psutil
import pytest
from jsonschema import Draft202012Validator

from harness.engines.null_server import Faults
from harness.engines.standalone import null_server
from harness.report.document import LoadResult
from harness.report.result_files import read_result_as
from scoreboard import contract
from tests.support.eventually import eventually_sync

ROOT = Path(__file__).parents[2]
SHORT = ("--rate", "400", "--listeners", "60", "--players", "100", "--warmup", "1")


def load(url: str, results: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "harness", "load", "--host", url, "--results", str(results)),
            *SHORT,
            *("--late-limit", "2000", "--no-ceiling", *arguments),
        ],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]", results: Path) -> tuple[int, str, dict[str, Any]]:
    out, err = process.communicate(timeout=90)
    [path] = results.glob("*.json")
    document = json.loads(path.read_text())
    assert path.with_suffix(".html").read_text().startswith("<!doctype html>"), err
    return process.returncode, out, document


def changes(url: str) -> int:
    """How many submissions a server has applied."""
    with urllib.request.urlopen(f"{url}{contract.SCORES_PATH}", timeout=5) as answer:
        return int(answer.headers[contract.SEQ_HEADER])


def check_says_the_same(document: dict[str, Any], results: Path) -> bool:
    """Judge the saved history once more, by the command of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", "check", str(results / document["run_id"]), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = json.loads(done.stdout)
    verdict = document["verdict"]["correctness"]
    return bool(found == {"verdict": verdict, "findings": document["findings"]})


@pytest.mark.parametrize("workers", ["1", "2"])
def test_load_passes_a_sound_server_with_any_number_of_workers(
    tmp_path: Path, workers: str
) -> None:
    with null_server(players=100) as (url, _):
        code, out, document = finish(
            load(
                *(url, tmp_path, "--duration", "3s", "--workers", workers),
                *("--slo", "errors:0.1%", "--export", f"junit:{tmp_path}/load.xml"),
            ),
            tmp_path,
        )

    assert code == 0, out
    assert document["verdict"]["good"]
    assert ET.parse(tmp_path / "load.xml").getroot().get("failures") == "0"
    assert document["totals"]["ok"] == 1600
    assert document["counts"]["ok"] == 1200
    assert document["totals"]["deliveries"] == 1600 * 60
    kinds = [member["kind"] for member in document["members"]]
    assert kinds == ["submitters"] * int(workers) + ["listeners"] * int(workers)
    assert len({member["pid"] for member in document["members"]}) == 2 * int(workers)
    assert document["counts"]["cpu_us"] > 0 < document["counts"]["reads"]
    assert all(m["status"]["grown_kib"] is not None for m in document["members"][-int(workers) :])
    assert document["faults"] == []
    assert "✓ valid" in out
    assert "✓ correct" in out
    assert "✓ within SLO" in out
    assert check_says_the_same(document, tmp_path)


def test_result_file_is_at_the_given_path_and_matches_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "mine.json"
    with null_server(players=100) as (url, _):
        process = load(url, tmp_path, "--duration", "1", "--result-file", str(path))
        _, err = process.communicate(timeout=90)

    result = read_result_as(path, LoadResult)
    assert process.returncode == 0, err
    assert result.verdict.good
    assert result.totals["ok"] == 800
    assert path.with_suffix(".html").exists()
    assert list(tmp_path.glob("*.json")) == []
    schema = json.loads((ROOT / "docs" / "result.schema.json").read_text())
    Draft202012Validator(schema).validate(json.loads(path.read_text()))


def test_load_fails_a_server_that_loses_acknowledged_submissions(tmp_path: Path) -> None:
    with null_server(Faults(lose_submissions=frozenset({700, 800})), players=100) as (url, _):
        code, out, document = finish(load(url, tmp_path, "--duration", "2"), tmp_path)

    assert code == 1
    assert document["verdict"]["valid"]
    assert not document["verdict"]["correct"]
    assert "1,198 changes for 1,200 acknowledged submissions" in out
    assert check_says_the_same(document, tmp_path)


def test_a_broken_limit_fails_the_command(tmp_path: Path) -> None:
    with null_server(players=100) as (url, _):
        code, out, document = finish(
            load(url, tmp_path, "--duration", "2", "--slo", "max<1us"), tmp_path
        )

    assert code == 1
    assert document["verdict"]["correct"]
    assert "✗ not within SLO" in out


def test_a_server_that_refuses_much_of_the_load_breaks_the_default_limits(tmp_path: Path) -> None:
    refused = Faults(refuse_submissions=frozenset(range(450, 500)))
    with null_server(refused, players=100) as (url, _):
        code, out, document = finish(load(url, tmp_path, "--duration", "2"), tmp_path)

    assert code == 1
    assert "errors<=1%" in out
    assert "(default limit)" in out
    assert [limit["limit"] for limit in document["verdict"]["limits"]] == [
        "errors<=1%",
        "dropped<=0%",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_ended_early_is_still_judged_and_leaves_no_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    with null_server(players=100) as (url, _):
        process = load(url, tmp_path, "--duration", "600")
        # A second of warm-up and one of the run.
        eventually_sync(lambda: changes(url) >= 800, timeout_s=60)
        process.send_signal(number)
        code, out, document = finish(process, tmp_path)

    assert code == 0, out
    assert document["verdict"]["good"]
    assert document["totals"]["ok"] > 0
    for member in document["members"]:
        assert not Path(f"/proc/{member['pid']}").exists()


def test_an_end_before_the_run_began_ends_it_at_once(tmp_path: Path) -> None:
    with null_server(players=100) as (url, _):
        process = load(url, tmp_path, "--duration", "600")
        children = psutil.Process(process.pid).children
        # Its load processes exist, and take seconds to be ready.
        eventually_sync(lambda: len(children()) == 2, timeout_s=40)
        started = children()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 3
    assert err.splitlines()[-1] == "stopped before the run began: nothing was measured"
    assert not any(child.is_running() for child in started)


def test_no_server_is_one_clear_sentence(tmp_path: Path) -> None:
    process = load("http://127.0.0.1:9", tmp_path, "--duration", "1")
    _, err = process.communicate(timeout=60)

    assert process.returncode == 3
    assert err.startswith("error: no server answers at 127.0.0.1 port 9 (Connection refused): ")
    assert len(err.splitlines()) == 1


def test_an_unreadable_limit_or_profile_is_wrong_use(tmp_path: Path) -> None:
    for arguments in (("--slo", "p99"), ("--rate", "fast")):
        process = load("http://127.0.0.1:9", tmp_path, *arguments)
        _, err = process.communicate(timeout=60)

        assert process.returncode == 2
        assert err.startswith("error: ")
