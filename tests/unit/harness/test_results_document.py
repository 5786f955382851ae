"""RESULTS.md tells of a run what it was, how to repeat it, and nothing better than its verdict."""

import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from harness.__main__ import main
from harness.cli import capacity, load, results
from harness.measure.settings import RunSettings
from harness.report import results_document
from harness.report.document import BenchProofResult, CapacityResult, LoadResult
from tests.unit.harness.documents import bench_proof_document, capacity_document, decoded

MACHINE = {"cpus": 2, "cpu": "cpu", "memory_mib": 2048, "commit": "abc", "changed": False}


def load_run(
    *,
    listeners: int = 1000,
    seconds: int = 60,
    workers: int = 1,
    started: float = 1.0,
    good: bool = True,
    changed: bool = False,
    verdict: dict[str, Any] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """A result document as far as its section reads it."""
    members = [{"kind": "submitters", "status": {}}] * workers
    members += [{"kind": "listeners", "status": {"listeners": listeners // workers}}] * workers
    asked = RunSettings(listeners=listeners, duration_s=seconds, **settings)
    believed = {"valid": True, "correct": True, "within_slo": True, "limits": [], "good": good}
    return {
        "kind": "scoreboard-run",
        "started_unix_s": started,
        "machine": {**MACHINE, "changed": changed},
        "settings": asked.to_json(),
        "window": {"start": 5, "end": 5 + seconds},
        "members": members,
        "verdict": {**believed, **(verdict or {})},
        "figures": {"goodput": 990.0, "rate": 1000.0},
        "counts": {"deliveries": 600},
        "resources": {"cores": {}, "harness_share": 0.1, "bottleneck": "", "samples": []},
        "findings": [],
        "seconds": [],
        "backlog": [],
        "histograms": {},
    }


def parse(command: click.Command, line: str) -> dict[str, Any]:
    """The options of a command line of the harness."""
    words = shlex.split(line)
    assert words[:1] == ["scoreboard"]
    assert words[1] == command.name
    return command.make_context(words[1], words[2:]).params


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        ({}, "valid, correct"),
        ({"correct": False}, "valid, not correct"),
        ({"valid": False}, "not valid, correct"),
        (
            {"limits": [{"limit": "p99<1s", "kept": True}, {"limit": "max<2s", "kept": False}]},
            "valid, correct, within p99<1s, not within max<2s",
        ),
    ],
)
def test_load_section_states_the_verdict(verdict: dict[str, Any], told: str) -> None:
    text = results_document.load_section(decoded(LoadResult, load_run(verdict=verdict)), "f.json")

    assert f"Verdict: {told}.**" in text


def test_load_section_quotes_a_command_that_repeats_the_run() -> None:
    wanted: dict[str, Any] = {
        "rate": "100-2000x60",
        "arrivals": "poisson",
        "players": 5000,
        "slo": "p99<250ms,errors<0.1%,dropped<=0%",
        "warmup_s": 2.5,
        "late_limit_ms": 100.0,
    }
    document = decoded(
        LoadResult, load_run(listeners=6000, seconds=30, workers=2, label="mine", **wanted)
    )

    parsed = parse(load.load, results_document.load_command(document))

    assert load.settings_of(parsed) == RunSettings(listeners=6000, duration_s=30, **wanted)
    assert parsed["workers"] == 2


def test_load_section_leaves_defaults_out_of_the_command() -> None:
    assert results_document.load_command(decoded(LoadResult, load_run())) == (
        "scoreboard load --rate 1000 --listeners 1000 --duration 60"
    )


def test_capacity_section_quotes_every_option() -> None:
    line = "scoreboard capacity --over both --listeners 100,5000 --slo 'p99<1s' --start 9"
    asked = parse(capacity.capacity, line)
    typed = {**asked, "listeners": "100,5000"}

    told = parse(capacity.capacity, capacity.command_of(typed))

    assert told == asked


@pytest.mark.parametrize(("changed", "told"), [(True, "commit abc, changed,"), (False, "abc,")])
def test_sections_mark_a_commit_with_uncommitted_changes(changed: bool, told: str) -> None:
    machine = {**MACHINE, "changed": changed}
    capacity = {
        **capacity_document(),
        "plan": {"slo": "p99<1s", "seconds": 10, "repeats": 3},
        "command": "scoreboard capacity",
        "machine": machine,
        "searches": [],
        "scalability": {"refused": "too few"},
    }
    gate = {**bench_proof_document(), "machine": machine}

    sections = (
        results_document.load_section(decoded(LoadResult, load_run(changed=changed)), "f.json"),
        results_document.capacity_section(decoded(CapacityResult, capacity), "f.json"),
        results_document.bench_gate_section(decoded(BenchProofResult, gate), "f.json"),
    )
    assert all(told in section for section in sections)


def newest(tmp_path: Path, *documents: dict[str, Any]) -> dict[str, float]:
    """When the run taken for each kind began."""
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    found = results.newest_good(tmp_path.glob("*.json"))
    return {kind: document.started_unix_s for kind, document in found.items()}


def test_newest_long_run_is_the_headline_beside_the_newest_crowd(tmp_path: Path) -> None:
    found = newest(
        tmp_path,
        load_run(started=1),
        load_run(started=2),
        load_run(started=3, seconds=10),
        load_run(started=4, good=False),
        load_run(started=5, listeners=10_000, seconds=30),
    )

    assert found == {"scoreboard-run": 2, results.CROWD: 5}


def results_of(tmp_path: Path, *files: Path) -> str:
    output = tmp_path / "RESULTS.md"
    places = ["--output", str(output), "--kept", str(tmp_path / "kept")]
    assert main(["results", *map(str, files), *places]) == 0
    return output.read_text()


def test_named_file_goes_to_the_section_of_its_size(tmp_path: Path) -> None:
    short, crowd = tmp_path / "short.json", tmp_path / "crowd.json"
    short.write_text(json.dumps(load_run(seconds=5)))
    crowd.write_text(json.dumps(load_run(seconds=5, listeners=5000)))

    only_crowd = results_of(tmp_path, crowd)
    both = results_of(tmp_path, short, crowd)

    assert "<!-- begin:crowd -->" in only_crowd
    assert "<!-- begin:load -->" not in only_crowd
    assert "docs/results/load.json" in both
    assert "docs/results/crowd.json" in both
    assert {path.name for path in (tmp_path / "kept").glob("*.json")} == {"load.json", "crowd.json"}


def test_a_kept_section_stands_in_the_page_once_with_its_file_beside_it(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    for text in ("1 run: {}", "2 runs: {}"):
        results_document.keep_section(page, "lab", {"text": text}, text.format)

    written = page.read_text("utf-8")
    assert written.startswith("# Results\n")
    assert written.count("<!-- begin:lab -->") == 1
    assert "2 runs: docs/results/lab.json" in written
    assert "1 run" not in written
    kept = json.loads((tmp_path / "docs/results/lab.json").read_text("utf-8"))
    assert kept == {"text": "2 runs: {}"}
