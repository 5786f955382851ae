"""What a refusal before the run, or of every submission in it, tells the user to do."""

import json
import os
from pathlib import Path

import pytest

from harness.measure.series import Series
from harness.net.preflight import refusal
from harness.net.target import find_target
from harness.run.board_watch import refused_alike


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "SCOREBOARD_JWT_SECRET"),
        (404, "is this the address of a scoreboard"),
        (429, "SCOREBOARD_RATE_LIMIT_COUNT"),
        (503, "/readyz"),
        (418, "is this the address of a scoreboard"),
    ],
)
def test_refusal_has_the_status_and_what_to_do(status: int, told: str) -> None:
    words = refusal("POST /scores/update", status)

    assert f"answered with {status}" in words
    assert told in words


def refused(**counters: int) -> Series:
    series = Series()
    series.seconds[3].counters.update(counters)
    return series


def test_submissions_that_are_all_refused_alike_end_a_run() -> None:
    words = refused_alike(refused(fail=60, status_401=60))

    assert words.startswith("all 60 submissions were refused with 401")
    assert "SCOREBOARD_JWT_SECRET" in words


def test_signed_run_that_is_refused_is_not_told_to_sign() -> None:
    series = refused(fail=60, status_401=60)

    assert "give --signing-key" in refused_alike(series)
    assert "give --signing-key" not in refused_alike(series, signed=True)
    assert "check --signing-key" in refused_alike(series, signed=True)


@pytest.mark.parametrize(
    "counters",
    [
        {"fail": 10, "status_401": 10},
        {"fail": 60, "status_401": 60, "ok": 1},
        {"fail": 60, "status_401": 30, "status_429": 30},
        {"fail": 60, "status_503": 60},
        {"unknown": 60, "status_503": 60},
    ],
)
def test_few_or_different_refusals_do_not_end_a_run(counters: dict[str, int]) -> None:
    assert refused_alike(refused(**counters)) == ""


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("http://localhost:3102", True),
        ("localhost:3102", True),
        ("http://127.0.0.1:3102/", True),
        ("http://localhost:3103", False),
        ("http://elsewhere:3102", False),
    ],
)
def test_running_stack_is_known_by_every_name_of_this_machine(
    tmp_path: Path, host: str, ours: bool
) -> None:
    (tmp_path / ".scoreboard").mkdir()
    (tmp_path / "secret").write_text("s" * 64)
    state = {
        "ready": True,
        "supervisor_pid": os.getpid(),
        "base_url": "http://127.0.0.1:3102",
        "jwt_secret_file": str(tmp_path / "secret"),
        "urls": {"mysql": "mysql://u@h/d"},
    }
    (tmp_path / ".scoreboard" / "state.json").write_text(json.dumps(state))

    target = find_target(host=host, mysql_url="", environ={}, folder=tmp_path)

    assert target is not None
    assert (target.secret == b"s" * 64) is ours
    assert (target.mysql_url != "") is ours
