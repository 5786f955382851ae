"""The whole command on a checkout of its own: equal trees pass, a costlier one fails.

So few rounds can never call a time worse, so what this machine does beside decides nothing.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ONE_MORE_CALL = """

def _wrapped(case: Case) -> Case:
    def prepare(size):
        work, check = case.prepare(size)
        return lambda: work(), check

    return Case(name=case.name, size=case.size, prepare=prepare)


CASES = [_wrapped(case) for case in CASES]
"""
SMALL_BENCHMARKS = """
from types import SimpleNamespace

def work():
    for _ in range({turns}):
        pass
    return 1

def check(found):
    assert found == 1

CASES = [SimpleNamespace(name="loop", size=1, prepare=lambda size: (work, check))]
"""
TINY = (
    "--rounds",
    "2",
    "--no-instructions",
    "--only",
    "batch_encode_500",
    "--only",
    "batch_decode_500",
)


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    for package in ("benchmarks", "harness", "scoreboard"):
        shutil.copytree(
            ROOT / package,
            folder / package,
            ignore=shutil.ignore_patterns("__pycache__", "peers"),
        )
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "base")
    return folder


def bench_compare(folder: Path, *arguments: str, only: str = "") -> tuple[int, str, dict[str, Any]]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "harness", "bench-compare", "--results", "results"),
            *(("--rounds", "2", "--only", only) if only else TINY),
            *arguments,
        ],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    [path] = (folder / "results").glob("bench-*.json")
    return done.returncode, done.stdout, json.loads(path.read_text())


def test_equal_trees_are_not_told_apart_and_few_rounds_do_not_acquit(checkout: Path) -> None:
    code, out, document = bench_compare(checkout)

    assert code == 3, out
    assert "could not tell: 2 rounds cannot show that a case is slower" in out
    assert [case["judgement"] for case in document["cases"]] == ["same", "same"]
    assert [case["name"] for case in document["cases"]] == ["batch_encode_500", "batch_decode_500"]
    assert not document["good"]


def test_bench_compare_fails_on_one_more_function_call(checkout: Path) -> None:
    with (checkout / "benchmarks" / "core.py").open("a") as core:
        core.write(ONE_MORE_CALL)

    code, out, document = bench_compare(checkout)

    assert code == 1, out
    assert "2 got worse" in out
    assert [case["judgement"] for case in document["cases"]] == ["more", "more"]
    assert [case["calls"][1] - case["calls"][0] for case in document["cases"]] == [1, 1]


def test_work_that_adds_no_call_shows_in_instructions_where_valgrind_is(tmp_path: Path) -> None:
    core = tmp_path / "benchmarks" / "core.py"
    core.parent.mkdir()
    (core.parent / "__init__.py").touch()
    core.write_text(SMALL_BENCHMARKS.format(turns=1000))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "base")
    core.write_text(SMALL_BENCHMARKS.format(turns=1100))

    code, out, document = bench_compare(tmp_path, "--instructions", only="loop")

    [case] = document["cases"]
    assert case["calls"][0] == case["calls"][1]
    if shutil.which("valgrind"):
        assert code == 1, out
        assert "instructions" in case["why"]
    else:
        assert code == 3, out
        assert "instructions were not counted: valgrind is not installed" in out


def test_case_that_head_lost_is_named(checkout: Path) -> None:
    with (checkout / "benchmarks" / "core.py").open("a") as core:
        core.write("\nCASES = [case for case in CASES if case.name != 'batch_decode_500']\n")

    code, out, document = bench_compare(checkout)

    assert code == 3, out
    assert "could not tell: this tree has lost batch_decode_500" in out
    assert "nothing got worse" not in out
    assert document["gaps"][0] == "this tree has lost batch_decode_500"


def test_subfolder_without_benchmarks_ends_with_could_not_tell(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "bench-compare", *TINY],
        cwd=checkout / "scoreboard",
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 3, done.stdout
    assert "no such case: batch_encode_500" in done.stderr


def test_an_unknown_revision_is_wrong_use(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "bench-compare", "--base", "nowhere", *TINY],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert "error: --base 'nowhere': git has no such tree" in done.stderr


@pytest.mark.parametrize(
    ("planted", "arguments", "told"),
    [
        ("", ("--only", "nosuchcase"), "no such case: nosuchcase"),
        ("raise ImportError('planted')", ("--only", "batch_encode_500"), "planted"),
        ("CASES = CASES[:0]", ("--only", "batch_encode_500"), "this tree has no benchmarks"),
    ],
)
def test_comparison_that_saw_nothing_ends_with_could_not_tell(
    checkout: Path, planted: str, arguments: tuple[str, ...], told: str
) -> None:
    with (checkout / "benchmarks" / "core.py").open("a") as core:
        core.write(f"\n{planted}\n")

    done = subprocess.run(
        [sys.executable, "-m", "harness", "bench-compare", "--rounds", "2", *arguments],
        cwd=checkout,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 3, done.stdout
    assert told in done.stderr
    assert "nothing got worse" not in done.stdout
