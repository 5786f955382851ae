"""`harness results` writes its sections from result files and touches nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.__main__ import main
from tests.unit.harness.documents import (
    bench_proof_document,
    capacity_document,
    chaos_document,
    run_document,
    selfproof_document,
)

OWN_WORDS = "# Results\n\nMy own words.\n"
FOREIGN = "<!-- begin:peers -->\nothers wrote this\n<!-- end:peers -->\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    return tmp_path


def put(place: Path, name: str, document: dict[str, Any]) -> None:
    (place / "results" / f"{name}.json").write_text(json.dumps(document))


def section(text: str, name: str) -> str:
    [found] = text.split(f"<!-- begin:{name} -->")[1:]
    return found.split(f"<!-- end:{name} -->")[0]


def test_results_command_writes_a_section_per_kind_and_keeps_other_text(place: Path) -> None:
    for number, document in enumerate(
        (
            run_document(),
            capacity_document(),
            selfproof_document(),
            bench_proof_document(),
            chaos_document(),
        )
    ):
        put(place, f"result-{number}", document)
    (place / "RESULTS.md").write_text(OWN_WORDS + FOREIGN)

    assert main(["results"]) == 0
    once = (place / "RESULTS.md").read_text()
    assert main(["results"]) == 0

    assert (place / "RESULTS.md").read_text() == once
    assert once.startswith(OWN_WORDS + FOREIGN)
    assert "1,000 accepted submissions/s" in section(once, "load")
    assert "CPU per delivered read 7.2 µs, memory per listener 0.50 KiB" in section(once, "load")
    assert "3,141/s" in section(once, "capacity")
    assert "| 3 lost events | 3 missing | yes |" in section(once, "selfproof")
    assert "| function calls: one more not reported (miss) | 1 of 12" in section(once, "bench-gate")
    assert "| kill -9 | mysql never, redis 120 |" in section(once, "chaos")
    kept = place / "docs" / "results"
    assert (kept / "load-response.svg").read_text().startswith("<svg")
    assert (kept / "capacity-trials.svg").exists()
    assert "secret-host" not in (kept / "load.json").read_text()


def test_results_command_rewrites_sections_from_new_or_kept_results(
    place: Path,
) -> None:
    put(place, "chaos-1", chaos_document(seed=7))
    assert main(["results"]) == 0
    (place / "results" / "chaos-1.json").unlink()
    put(place, "load", run_document())

    assert main(["results"]) == 0

    text = (place / "RESULTS.md").read_text()
    assert "make chaos SEED=7`" in section(text, "chaos")
    assert "accepted submissions/s" in section(text, "load")


def test_results_command_takes_the_newest_good_full_run(place: Path) -> None:
    runs: tuple[dict[str, Any], ...] = (
        {"seed": 1},
        {"seed": 2, "started_unix_s": 1_764_000_100},
        {"seed": 3, "started_unix_s": 1_764_000_200, "good": False, "verdict": "false"},
        {"seed": 4, "started_unix_s": 1_764_000_300, "short": True},
    )
    for number, changes in enumerate(runs):
        put(place, f"chaos-{number}", chaos_document(**changes))
    (place / "results" / "torn.json").write_text("{")

    assert main(["results"]) == 0

    assert "make chaos SEED=2`" in (place / "RESULTS.md").read_text()


def test_results_command_skips_a_run_with_a_bad_verdict(place: Path) -> None:
    bad = run_document()
    bad["verdict"]["good"] = False
    put(place, "bad", bad)

    assert main(["results"]) == 3
    assert not (place / "RESULTS.md").exists()
