"""The chaos report: what its section says, and where it goes."""

import json
from pathlib import Path

from harness.__main__ import main
from harness.chaos.report import markdown

REPORT = {
    "seed": 7,
    "short": False,
    "commit": "abc",
    "machine": {"cpus": 2, "python": "3.11"},
    "verdict": "true",
    "verdict_black_box": "true",
    "flood_s": 612.3,
    "accepted": 123456,
    "refused": 5,
    "unknown": 6,
    "attempts": 130000,
    "attempts_unknown": 900,
    "attacks": 10,
    "listeners": 200,
    "reconnects": 900,
    "changes": 123450,
    "resets": 3,
    "reads": 40,
    "findings": [
        {"invariant": "I1 exactly once", "title": "once", "verdict": "true", "looked_at": "rows"}
    ],
    "faults": [
        {"kind": "kill -9", "target": "redis", "fired": "pid 1", "recovery_ms": 120.0},
        {"kind": "kill -9", "target": "mysql", "fired": None, "recovery_ms": None},
    ],
}


def test_the_section_says_seed_commit_counts_and_each_fault() -> None:
    section = markdown(REPORT, "docs/results/chaos.json")

    assert "make chaos SEED=7`" in section
    assert "commit `abc`" in section
    assert "[`docs/results/chaos.json`]" in section
    assert "123,456 acknowledged" in section
    assert "2 faults of 1 kinds on 2 processes and edges, 1 proven" in section
    assert "| kill -9 | mysql never, redis 120 |" in section
    assert "| I1 exactly once: once | true | rows |" in section


def test_the_command_replaces_the_section_and_keeps_the_report_beside_the_document(
    tmp_path: Path,
) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    document = tmp_path / "RESULTS.md"
    document.write_text("# Results\n\nbefore\n")

    for _ in range(2):
        code = main(["chaos-report", str(tmp_path / "report.json"), "--write", str(document)])
        assert code == 0

    assert document.read_text().count("<!-- begin:chaos -->") == 1
    assert "before" in document.read_text()
    assert json.loads((tmp_path / "docs/results/chaos.json").read_text()) == REPORT
