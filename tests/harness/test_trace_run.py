"""A trace is played against a server, from the file to the exit code."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness.engines.standalone import null_server
from harness.evidence.history import Done, Submit, read_history
from tests.harness.test_load import ROOT, changes, check_says_the_same

ROWS = 300
USERS = ("u-9", "7", "someone")
OPTIONS = ("--players", "20", "--listeners", "5", "--warmup", "1", "--late-limit", "2000")


def recorded(folder: Path) -> Path:
    """300 rows in 6 seconds: three users, amounts of 1 to 5."""
    path = folder / "day.csv"
    rows = (f"{n / 50},{USERS[n % 3]},{1 + n % 5},ignored\n" for n in range(ROWS))
    path.write_text("at_s,user,score,other\n" + "".join(rows))
    return path


@pytest.mark.parametrize(
    "command",
    [("harness", "load", "--no-ceiling"), ("locust", "-f", "loadtests/", "--headless")],
    ids=["load", "locust"],
)
def test_trace_is_played_once_at_its_speed_with_its_users_and_amounts(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    results = tmp_path / "results"
    with null_server(players=20) as (url, _):
        done = subprocess.run(
            [
                *(sys.executable, "-m", *command, "--host", url, "--results", str(results)),
                *("--trace", str(recorded(tmp_path)), "--trace-speed", "2x", *OPTIONS),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        applied = changes(url)

    assert done.returncode == 0, done.stderr
    [path] = results.glob("*.json")
    document = json.loads(path.read_text())
    assert (document["window"], document["totals"]["ok"]) == ({"start": 1, "end": 3}, ROWS)
    assert applied == ROWS
    assert "300 submissions in 3.0 s; of its 3 users 1 are the target's by name or id, 2 get" in (
        done.stderr
    )
    history = read_history(results / document["run_id"] / "history-submitters-0.jsonl")
    sent = [record for record in history.records if isinstance(record, Submit)]
    assert Counter((s.user, s.increment) for s in sent) == Counter(
        (user, 1 + n % 5) for n in range(ROWS) for user in [(1, 7, 2)[n % 3]]
    )
    assert sum(isinstance(record, Done) for record in history.records) == ROWS
    assert check_says_the_same(document, results)


def test_wrong_trace_is_told_before_the_first_byte(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    path.write_text(path.read_text() + "soon,ann,1,\n")
    for command in (
        ("harness", "load", "--host", "http://127.0.0.1:9"),
        ("locust", "-f", "loadtests/", "--headless", "--host", "http://127.0.0.1:9"),
        ("harness", "capacity", "--host", "http://127.0.0.1:9"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command, "--trace", str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert done.returncode == 2, done.stderr
        assert "line 302: expected at_s in seconds, such as 0.25" in done.stderr
