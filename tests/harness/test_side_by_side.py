"""Two servers of different make under the same load, in one report."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.foreign_server import PlainScores, SlowScores, serving

ROOT = Path(__file__).parents[2]


def scoreboard(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scoreboard_cli", *arguments],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_two_targets_stand_side_by_side_in_one_report(tmp_path: Path) -> None:
    results = tmp_path / "results"
    with serving(PlainScores()) as quick, serving(SlowScores()) as slow:
        for name, url in (("quick", quick), ("slow", slow)):
            (tmp_path / f"{name}.toml").write_text(
                f'url = "{url}"\nname = "{name}"\n[users]\nname = "user{{number}}"\n'
            )
        done = scoreboard(
            *("load", "--target", f"{tmp_path}/quick.toml", "--target", f"{tmp_path}/slow.toml"),
            *("--rounds", "1", "--rate", "50", "--listeners", "5", "--players", "10"),
            *("--warmup", "0", "--duration", "3", "--late-limit", "2000", "--no-ceiling"),
            *("--results", str(results)),
        )
    [path] = results.glob("sides-*.json")
    document = json.loads(path.read_text())
    figures = {figure["name"]: figure["median"] for figure in document["figures"]}
    runs = [str(run) for run in sorted(results.glob("sides-*/run-*.json"))]
    compared = scoreboard("compare", *runs, "--html", str(tmp_path / "both.html"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert [side["name"] for side in document["sides"]] == ["quick", "slow"]
    assert [side["correctness"] for side in document["sides"]] == ["true", "true"]
    assert figures["accepted /s"] == [50, 50]
    assert figures["service p50"][0] < 20_000 < figures["service p50"][1]
    assert figures["server CPU, cores"][0] is not None
    assert "quick beside slow" in path.with_suffix(".html").read_text()
    assert "service p50" in done.stdout
    assert len(runs) == 2
    assert compared.returncode in (1, 3), compared.stderr
    assert "quick beside slow" in (tmp_path / "both.html").read_text()
