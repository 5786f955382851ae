"""`--benchmark-json` is for tools that compare runs, so equal cases have equal names in it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CASES = {"build_requests", "body_parse_500"}


def run(*arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        # A run within pytest-xdist would switch the measuring off.
        env={
            **{name: value for name, value in os.environ.items() if "XDIST" not in name},
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def measured(path: Path) -> list[dict[str, Any]]:
    run(
        *("pytest", "benchmarks", "-k", " or ".join(CASES), "-p", "no:cacheprovider", "-q"),
        *("--benchmark-only", "--benchmark-max-time", "0.01", "--benchmark-min-rounds", "2"),
        *("--benchmark-warmup", "off", "--benchmark-json", str(path)),
        # Names must not depend on the hashes or addresses of one process.
        PYTHONHASHSEED=path.stem,
    )
    found: list[dict[str, Any]] = json.loads(path.read_text())["benchmarks"]
    return found


def test_equal_cases_of_two_runs_are_compared_with_each_other(tmp_path: Path) -> None:
    before, after = measured(tmp_path / "1.json"), measured(tmp_path / "2.json")

    assert {bench["params"]["case"] for bench in before} == CASES
    # Tests run in random order.
    assert sorted(map(str, (b["params"] for b in before))) == sorted(
        map(str, (b["params"] for b in after))
    )
    groups = run(
        *("pytest_benchmark", "compare", str(tmp_path / "1.json"), str(tmp_path / "2.json")),
        *("--group-by", "param:case"),
    )
    for case in CASES:
        assert f"benchmark 'case={case}': 2 tests" in groups


def test_json_has_what_github_action_benchmark_reads(tmp_path: Path) -> None:
    # Its tool `pytest` reads fullname, stats.ops, stats.stddev, stats.mean and stats.rounds.
    found = measured(tmp_path / "1.json")

    assert len({bench["fullname"] for bench in found}) == len(CASES)
    for bench in found:
        stats = bench["stats"]
        assert all(float(stats[name]) > 0 for name in ("ops", "mean"))
        assert float(stats["stddev"]) >= 0
        assert int(stats["rounds"]) >= 2
