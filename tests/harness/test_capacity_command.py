"""The search as a command, on a server that holds everything asked for, and on one that lies."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.engines.null_server import Faults
from harness.engines.standalone import null_server
from tests.support.foreign_server import PlainScores, serving

ROOT = Path(__file__).parents[2]


def capacity(url: str, results: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "harness", "capacity", "--host", url),
            *("--results", str(results), "--slo", "errors<1%", "--listeners", "10"),
            *("--duration", "1", "--warmup", "1", *arguments),
        ],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    [path] = results.glob("capacity-*.json")
    return done.returncode, done.stdout + done.stderr, json.loads(path.read_text())


def test_capacity_finds_a_sustained_load_and_keeps_its_trials(tmp_path: Path) -> None:
    with null_server() as (url, _):
        code, out, document = capacity(
            url, tmp_path, *("--start", "60", "--most", "60", "--repeats", "1")
        )

    assert code == 0, out
    [found] = document["searches"]
    assert (found["load"], found["bounded"]) == (60, False)
    [trial] = document["trials"]
    assert trial["held"]
    assert trial["goodput"] == 60
    assert "refused" in document["scalability"]
    assert "at least 60 submissions/s with 10 listeners" in out


def test_capacity_fails_with_a_reason_when_no_load_is_sustained(tmp_path: Path) -> None:
    with null_server(Faults(lose_submissions=frozenset({1}))) as (url, _):
        code, out, document = capacity(
            url, tmp_path, *("--start", "1", "--most", "1", "--repeats", "1")
        )

    assert code == 1, out
    [trial] = document["trials"]
    assert "not correct" in trial["why"]
    assert "no load held" in out


def test_capacity_asks_a_plain_server_only_for_what_it_shows(tmp_path: Path) -> None:
    target = tmp_path / "plain.toml"
    target.write_text('url = "http://127.0.0.1"\n[users]\nname = "user{number}"\n')
    with serving(PlainScores()) as url:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "harness", "capacity", "--host", url),
                *("--target", str(target), "--results", str(tmp_path / "results")),
                *("--start", "500", "--most", "500", "--repeats", "1", "--listeners", "5"),
                *("--duration", "2", "--warmup", "1", "--late-limit", "2s", "--players", "7"),
                *("--server-pid", str(os.getpid())),
            ],
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    [path] = (tmp_path / "results").glob("capacity-*.json")
    document = json.loads(path.read_text())
    [trial] = (tmp_path / "results").glob("capacity-*/trial-500-*.json")
    run = json.loads(trial.read_text())

    assert document["plan"]["slo"] == "p99<500ms,errors<0.1%,dropped<=0%"
    assert "measured" not in document["trials"][0]["why"], done.stdout + done.stderr
    assert run["settings"]["players"] == 7
    assert run["settings"]["target"] == str(target)
    assert "server under test" in run["resources"]["samples"][0]["processes"]
    assert f"--target {target}" in document["command"]


def test_capacity_stops_with_the_cause_when_every_trial_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "wrong.toml"
    target.write_text('url = "http://127.0.0.1"\n[submit]\npath = "/nowhere"\n')
    with serving(PlainScores()) as url:
        code, out, document = capacity(
            url,
            tmp_path,
            *("--target", str(target), "--start", "64", "--late-limit", "2s", "--seed", "3"),
        )

    assert code == 1, out
    assert len(document["trials"]) == 3
    assert "stopped: 3 trials failed alike, nothing was accepted: HTTP 404" in out
