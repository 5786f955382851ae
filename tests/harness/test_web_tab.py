"""Locust's web UI: a form with what matters first, a tab with state, verdict and report."""

import html
import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.engines.null_server import Faults
from harness.engines.standalone import null_server
from tests.support.browser import DESKTOP, PHONE, open_browser
from tests.support.eventually import eventually_sync
from tests.support.reserved_ports import reserved_port

ROOT = Path(__file__).parents[2]
FORM = {"user_count": "2", "spawn_rate": "10"}


WIDTHLESS = "\u200c\u200d"


def get(url: str, form: dict[str, str] | None = None) -> str:
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(url, data, timeout=10) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def stats(base: str) -> dict[str, Any]:
    """What Locust's page asks for every two seconds; empty while Locust is not up yet."""
    try:
        answer: dict[str, Any] = json.loads(get(f"{base}/stats/requests"))
    except OSError:
        return {}
    return answer


def rows(base: str) -> dict[str, str]:
    """What the tab shows, by its first column, in the order in which Locust shows it; empty while
    Locust is not up yet."""
    if not (answer := stats(base)):
        return {}
    [table] = answer["extended_stats"]
    assert table["key"] == "scoreboard"
    shown = sorted(table["data"], key=lambda row: str(row["name"]))
    return {row["name"].lstrip(WIDTHLESS): row["value"] for row in shown}


def judged(base: str) -> dict[str, str] | None:
    """The rows of a run that has its verdict."""
    found = rows(base)
    return found if "correct" in found else None


@contextmanager
def web_ui(
    folder: Path, *arguments: str, data_folder: str = "", ends_with: int | None = None
) -> Iterator[str]:
    """Locust with its web UI on the project's scenario, small; yields its address.

    `ends_with` is the exit code that SIGTERM must give in the end.
    """
    base = f"http://127.0.0.1:{(port := reserved_port())}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")}
    locust = subprocess.Popen(
        [
            *(sys.executable, "-m", "locust", "-f", "loadtests", *arguments),
            *("--web-host", "127.0.0.1", "--web-port", str(port)),
            *("--rate", "100", "--listeners", "10", "--players", "100"),
            *("--duration", "2", "--warmup", "1", "--late-limit", "5000"),
            *("--results", str(folder)),
        ],
        cwd=ROOT,
        env={**kept, "SCOREBOARD_DATA_DIR": data_folder or str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually_sync(lambda: rows(base) or None, timeout_s=60)
        yield base
    finally:
        locust.terminate()
        _, err = locust.communicate(timeout=30)
    assert ends_with in (None, locust.returncode), err


def test_tab_shows_progress_then_the_verdict_and_serves_the_report(tmp_path: Path) -> None:
    slo = ("--slo", "errors:0%,goodput:1k/s")
    with (
        null_server(players=100) as (url, _),
        web_ui(tmp_path, "--autostart", "--host", url, *slo) as base,
    ):
        during = rows(base)
        progress = get(f"{base}/scoreboard/report")
        after = eventually_sync(lambda: judged(base), timeout_s=90)
        page = get(f"{base}/")
        report = get(after["report"])
        # Locust's own state ends with the run, so that Start begins another one.
        assert eventually_sync(lambda: stats(base)["state"] == "stopped", timeout_s=20)

    assert "phase" in during
    assert "the report stands here when the run has ended" in progress
    assert [*after][:2] == ["good", "report"]
    assert after["good"] == "✗ no"
    assert after["valid"] == after["correct"] == "✓ yes"
    assert after["SLO errors:0%"] == "✓ 0.0000%"
    assert after["SLO goodput:1k/s"].startswith("✗ ")
    assert "SLO" not in after
    assert after["submissions: accepted"] == "300"
    assert after["listeners: events delivered"] == "3,000"
    assert "Scoreboard" in page
    assert report.startswith("<!doctype html>")


def test_form_has_rate_and_listeners_first_and_takes_no_wrong_value(tmp_path: Path) -> None:
    # Only the second run loses one of its submissions.
    lost = Faults(lose_submissions=frozenset({190}))
    with (
        null_server(lost, players=100) as (url, _),
        web_ui(tmp_path, "--host", url, ends_with=1) as base,
    ):
        page = html.unescape(get(f"{base}/"))
        answers = [
            json.loads(get(f"{base}/swarm", {**FORM, **values}))
            for values in (
                {"scoreboard_rate": "fast"},
                {"scoreboard_rate": ""},
                {"scoreboard_listeners": "-1", "scoreboard_duration_s": "never"},
                {"host": "ftp://x"},
            )
        ]
        state = stats(base)["state"]
        started = json.loads(get(f"{base}/swarm", {**FORM, "scoreboard_rate": "50"}))
        after = eventually_sync(lambda: judged(base), timeout_s=90)
        eventually_sync(lambda: stats(base)["state"] == "stopped", timeout_s=20)
        get(f"{base}/swarm", {**FORM, "scoreboard_rate": "20"})
        eventually_sync(lambda: judged(base) is None, timeout_s=20)
        again = eventually_sync(lambda: judged(base), timeout_s=90)

    options = json.loads(re.findall(r"window.templateArgs = (.*)", page)[0])["extra_options"]
    assert list(options)[:2] == ["scoreboard_rate", "scoreboard_listeners"]
    assert options["scoreboard_arrivals"]["choices"] == ["constant", "poisson"]
    assert "%%" not in str(options)
    assert [answer["success"] for answer in answers] == [False] * 4
    assert answers[0]["message"].startswith("--rate: ")
    assert answers[1]["message"].startswith("--rate: ")
    assert "--duration: " in answers[2]["message"]
    assert "--listeners" in answers[2]["message"]
    assert "http://" in answers[3]["message"]
    assert state == "ready", "nothing was started"
    assert started["success"]
    assert after["SLO"] == "no SLO given"
    assert after["submissions: accepted"] == "150"
    assert after["correct"] == "✓ yes"
    assert again["submissions: accepted"] == "60"
    assert again["correct"].startswith("✗ no")


def test_fewer_users_in_mid_run_end_it_at_once_as_a_loss_of_its_own(tmp_path: Path) -> None:
    long = {**FORM, "scoreboard_duration_s": "60"}
    with null_server(players=100) as (url, _), web_ui(tmp_path, "--host", url) as base:
        get(f"{base}/swarm", long)
        eventually_sync(lambda: rows(base).get("phase") == "measuring", timeout_s=60)
        get(f"{base}/swarm", {**long, "user_count": "1"})
        after = eventually_sync(lambda: judged(base), timeout_s=30)

    assert after["good"] == "? could not tell"
    assert "stopped its user in mid run" in after["valid"]


def test_form_names_the_running_stack_or_says_that_there_is_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0" * 32)
    stack = {"ready": True, "supervisor_pid": os.getpid(), "jwt_secret_file": str(secret)}

    def arguments(base: str) -> dict[str, Any]:
        page = get(f"{base}/")
        found: dict[str, Any] = json.loads(re.findall(r"window.templateArgs = (.*)", page)[0])
        return found

    with null_server(players=100) as (url, _), web_ui(tmp_path) as base:
        without = arguments(base)
        refused = json.loads(get(f"{base}/swarm", FORM))
        (tmp_path / "state.json").write_text(json.dumps({**stack, "base_url": url}))
        beside = arguments(base)

    assert (without["host"], without["missing_host_warning"]) == ("", True)
    assert "no server" in refused["message"]
    assert (beside["host"], beside["missing_host_warning"]) == (url, False)


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_browser_shows_form_refusal_and_verdict(tmp_path: Path, size: tuple[int, int]) -> None:
    with (
        null_server(players=100) as (url, _),
        web_ui(tmp_path / "results", "--host", url) as base,
        open_browser(tmp_path / "profile") as browser,
    ):
        browser.resize(size)
        browser.open(base)
        rate = eventually_sync(
            lambda: next(
                (f for f in browser.find_all("input[name=scoreboardRate]") if f.is_displayed()),
                None,
            )
        )
        labels = str(browser.run("return document.body.innerText"))
        start = browser.find("button[type=submit]").rect
        rate.send_keys("x")
        browser.find("button[type=submit]").click()
        refusal = eventually_sync(
            lambda: next(
                (a.text for a in browser.find_all("[role=alert]") if "--rate" in a.text), None
            )
        )
        if shots := os.environ.get("SCOREBOARD_TEST_SHOTS"):
            browser.driver.save_screenshot(f"{shots}/form-{size[0]}.png")
        browser.run("arguments[0].select()", rate)
        rate.send_keys("100")
        browser.find("button[type=submit]").click()
        eventually_sync(lambda: judged(base), timeout_s=90)
        browser.open(f"{base}/?tab=scoreboard")
        first = eventually_sync(
            lambda: (
                [
                    row.text.lstrip(WIDTHLESS)
                    for row in browser.find_all("tbody tr")[:2]
                    if row.text.lstrip(WIDTHLESS).startswith(("good", "report"))
                ]
                or None
            )
        )
        link = browser.find("tbody td a").rect
        if shots:
            browser.driver.save_screenshot(f"{shots}/tab-{size[0]}.png")

    assert "no host attribute" not in labels
    assert "Duration (measured" in labels
    assert "Scoreboard" not in labels
    assert start["y"] + start["height"] <= size[1], "Start is in reach without scrolling"
    assert labels.index("Rate") < labels.index("Listeners") < labels.index("Arrivals")
    assert "100x" in refusal
    assert first[0].startswith("good ✓ yes")
    assert first[1].startswith(f"report {base}/scoreboard/report")
    assert link["x"] + link["width"] <= size[0], "the link is whole without scrolling"
