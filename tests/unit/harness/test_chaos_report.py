"""The chaos report: what its section and its page say, and where they go."""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.chaos.page import html_page
from harness.chaos.report import markdown, seconds_seen
from harness.chaos.run import Plan, Run
from harness.checker import Evidence, Finding, Verdict
from harness.checker.evidence import Attempt, Submission
from harness.cli import chaos
from harness.evidence.history import Outcome
from harness.report.document import ChaosResult
from tests.unit.harness.documents import chaos_document, decoded

REPORT = decoded(ChaosResult, chaos_document())


def submission(attempt: Attempt) -> Submission:
    return Submission(
        name="s",
        principal="1",
        user=1,
        increment=1,
        digest="",
        key=None,
        sid=None,
        attack=None,
        attempts=[attempt],
    )


def test_chaos_section_states_seed_commit_counts_and_faults() -> None:
    section = markdown(REPORT, "docs/results/chaos.json")

    assert "make chaos SEED=7`" in section
    assert "commit `abc123`" in section
    assert "[`docs/results/chaos.json`]" in section
    assert "123,456 acknowledged" in section
    assert "2 faults of 1 kinds on 2 processes and connections, 1 proven" in section
    assert "| kill -9 | mysql never, redis 120 |" in section
    assert "| I1 exactly once: once | true | rows |" in section


def test_chaos_page_shades_and_numbers_each_fault_and_shows_its_recovery() -> None:
    html = html_page(REPORT)

    assert html.startswith("<!doctype html>")
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert html.count('class="fault"') == 4, "two faults on two plots"
    assert html.count("<title>1: kill -9 on redis</title>") == 2
    assert "<td>120 ms</td>" in html
    assert ">✗ never<" in html
    assert "did not fire" in html
    assert "I1 exactly once" in html


def test_chaos_seconds_count_acknowledgements_and_their_durations() -> None:
    evidence = Evidence(started_ns=5_000_000_000)
    for number in range(100):
        outcome = Outcome.UNKNOWN if number < 3 else Outcome.OK
        sent_ns = 6_000_000_000 + number * 1_000_000
        attempt = Attempt(
            invoked_ns=sent_ns,
            client="c",
            number=1,
            done_ns=sent_ns + 1_000_000_000,
            outcome=outcome,
        )
        evidence.submissions.append(submission(attempt))

    seconds = seconds_seen(evidence)

    assert [(s.t, s.ok, s.unknown) for s in seconds] == [(0, 0, 0), (1, 0, 0), (2, 97, 3)]
    assert seconds[2].times["answer"] == {}
    assert seconds[1].times["answer"]["p50"] == pytest.approx(1_000_000, rel=0.02)
    assert "p99" not in seconds[1].times["answer"], "97 answers have no 99th percentile"


@pytest.mark.parametrize("good", [True, False])
def test_chaos_command_keeps_the_evidence_of_a_bad_run_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: bool
) -> None:
    verdict = Verdict.TRUE if good else Verdict.FALSE
    finding = Finding(invariant="I1", title="once", verdict=verdict, looked_at="rows")
    folders: list[Path] = []

    async def conducted(folder: Path, chosen: Plan, _say: object) -> Run:
        folders.append(folder)
        return Run(
            plan=chosen,
            evidence=Evidence(started_unix_us=1_764_000_000_000_000),
            findings=[finding],
            black_box=[finding],
            counts=Counter(),
            seconds=1.0,
            load_s=1.0,
            about={},
        )

    monkeypatch.setattr(chaos, "run_chaos", conducted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = main(["chaos", "--short", "--seed", "7", "--results", str(tmp_path / "results")])

    assert code == (0 if good else 1)
    assert folders[0].exists() is not good
    names = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert names == ["chaos-20251124-160000.html", "chaos-20251124-160000.json"]
    assert json.loads((tmp_path / "results" / names[1]).read_text())["seed"] == 7


def test_results_command_imports_nothing_that_running_chaos_needs() -> None:
    program = (
        "import sys, harness.cli.results; "
        "print({'harness.chaos.run', 'uvloop', 'redis', 'pymysql', 'locust'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "set()"
