"""The Scoreboard tab of Locust's web UI: state during a run, verdict and report after it."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from harness.engines.standalone import null_server
from tests.support.eventually import eventually_sync
from tests.support.reserved_ports import reserved_port

ROOT = Path(__file__).parents[2]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def rows(base: str) -> dict[str, str]:
    """What the tab shows, by its first column; empty while Locust is not up yet."""
    try:
        answer = json.loads(get(f"{base}/stats/requests"))
    except OSError:
        return {}
    [table] = answer["extended_stats"]
    assert table["key"] == "scoreboard"
    return {row["name"]: row["value"] for row in table["data"]}


def judged(base: str) -> dict[str, str] | None:
    """The rows of a run that has its verdict."""
    found = rows(base)
    return found if "2 correct" in found else None


def test_tab_shows_progress_then_the_verdict_and_serves_the_report(tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{(port := reserved_port())}"
    with null_server(players=100) as (url, _):
        locust = subprocess.Popen(
            [
                *(sys.executable, "-m", "locust", "-f", "loadtests", "--host", url, "--autostart"),
                *("--web-host", "127.0.0.1", "--web-port", str(port)),
                *("--rate", "100", "--listeners", "10", "--players", "100"),
                *("--duration", "2", "--warmup", "1", "--late-limit", "5000"),
                *("--slo", "errors:0%,goodput:1k/s", "--results", str(tmp_path)),
            ],
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            during = eventually_sync(lambda: rows(base) or None, timeout_s=60)
            progress = get(f"{base}/scoreboard/report")
            after = eventually_sync(lambda: judged(base), timeout_s=90)
            page = get(f"{base}/")
            report = get(f"{base}{after['4 report']}")
        finally:
            locust.terminate()
            locust.communicate(timeout=30)

    assert "5 phase" in during
    assert "the report stands here when the run has ended" in progress
    assert min(after) == "0 good", "Locust sorts by name: the verdict comes first"
    assert after["0 good"] == "✗ no: see below"
    assert after["1 valid"] == after["2 correct"] == "✓ yes"
    assert after["3 SLO errors:0%"] == "✓ 0.0000%"
    assert after["3 SLO goodput:1k/s"].startswith("✗ ")
    assert after["6 submissions: accepted"] == "300"
    assert after["7 listeners: events delivered"] == "3,000"
    assert "Scoreboard" in page
    assert report.startswith("<!doctype html>")
