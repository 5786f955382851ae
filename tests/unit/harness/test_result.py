"""The verdict on a run holds against it whatever it could not show."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.checker import Finding, Verdict
from harness.checker.saved_run import JudgedRun, judge_saved_run
from harness.engines.listener_stats import ListenerTotals
from harness.evidence.board_look import Look
from harness.evidence.history_writer import BoardJournal, ListenerJournal, SubmissionJournal
from harness.judge.judgement import Judgement, judge_run
from harness.judge.record import RunRecord
from harness.judge.result import file_name
from harness.measure.series import Series
from harness.measure.settings import RunSettings
from harness.run.board_watch import closing_of
from harness.run.messages import Final, ListenerStatus, Report
from harness.run.worker_state import Member

BEGIN = 2
"""The schedule's second 0 in the series."""


def pool(**status: int) -> Member:
    return Member(ident="s", kind="listeners", pid=1, host="h", status=status)


def record(folder: Path, **changed: Any) -> RunRecord:
    board = Look(seq=10, scores={"A": 5})
    fields: dict[str, Any] = {
        "run_id": "r",
        "settings": RunSettings(warmup_s=0),
        "base_url": "http://127.0.0.1:1",
        "machine": {"cpus": 2},
        "started_unix_s": 1_000_000.0,
        "series": Series(),
        "begin_second": BEGIN,
        "measured_s": 10,
        "members": [],
        "spreads": [],
        "final_seq": 10,
        "converged": True,
        "before": board,
        "after": board,
        "backlog": [],
        "samples": [],
        "notes": [],
        "folder": folder,
    }
    return RunRecord(**{**fields, **changed})


def test_a_users_last_word_outlives_the_reports_that_follow() -> None:
    member = pool()

    def report(behind: int, final: Final | None = None) -> Report:
        status = ListenerStatus(account=ListenerTotals(behind=behind), cpu_s=1)
        return Report(ident=member.ident, status=status, final=final)

    member.hear(report(0))
    member.hear(report(3, Final(history_bytes=5, latest={"A": (1, 2)})))
    member.hear(report(0))

    assert member.status["behind"] == 3
    assert member.latest == {"A": (1, 2)}


def judged(run: RunRecord, *findings: Finding) -> Judgement:
    return judge_run(run, findings, None)


def closed(folder: Path, *, converged: bool = True, moved_to: int = 10) -> JudgedRun:
    """A run whose one listener pool wrote nothing but its end."""
    members = [pool(listeners=3)]
    members[0].name = "listeners-0"
    after = Look(seq=moved_to, scores={"A": 5})
    journal = BoardJournal(folder)
    journal.begin(10, {"A": 5}, {})
    journal.close(**closing_of(members, 10, after, converged=converged))
    ListenerJournal(folder, name="listeners-0").close(drained=True)
    return judge_saved_run(folder)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        ({"converged": False}, "the listeners did not all reach the last change, 10"),
        ({"moved_to": 12}, "the board moved from 10 to 12 while listeners were compared"),
    ],
)
def test_run_with_listeners_short_of_the_end_does_not_pass(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    found = closed(tmp_path, **changed)

    judgement = judge_run(record(tmp_path), found.findings, found.evidence)

    assert not judgement.correct
    assert any(told in reason for reason in judgement.incorrect) is bool(told) or not told
    assert judgement.correctness is found.verdict is Verdict.UNKNOWN


def test_history_of_a_lost_process_is_named(tmp_path: Path) -> None:
    journal = BoardJournal(tmp_path)
    journal.close(drained=True, about={"processes": ["submitters-0"]})

    found = judge_saved_run(tmp_path)

    assert found.verdict is Verdict.UNKNOWN
    assert any("the history of submitters-0 is missing" in f.explanations for f in found.findings)


def test_a_history_too_large_to_judge_is_unknown(tmp_path: Path) -> None:
    SubmissionJournal(tmp_path, name="submitters-0", run_id="r").close(drained=True)

    found = judge_saved_run(tmp_path, bytes_max=10)

    assert found.verdict is Verdict.UNKNOWN
    assert "too large" in found.findings[0].explanations[0]


def test_reasons_list_violations_first_without_repeats() -> None:
    def finding(name: str, verdict: Verdict, *why: str) -> Finding:
        return Finding(invariant=name, verdict=verdict, explanations=why)

    judgement = Judgement(
        invalid=[],
        findings=[
            finding("I1 exactly once", Verdict.UNKNOWN, "torn"),
            finding("I2 ledger", Verdict.TRUE),
            finding("I3 reads", Verdict.UNKNOWN, "torn", "late"),
            finding("I5 streams", Verdict.FALSE, "gap", "gap", "more"),
        ],
        limits=[],
        figures={},
    )

    assert judgement.incorrect == [
        "I5 false: gap",
        "I1, I3 unknown: torn",
        "I3 unknown: late",
    ]
    assert judgement.correctness is Verdict.FALSE
    assert judgement.valid
    assert not judgement.good


@pytest.mark.parametrize(
    ("arrivals", "late", "told"),
    [(999, 1, "max 80.0 ms"), (2000, 1, ""), (2000, 40, "p99 80."), (0, 0, "")],
)
def test_a_late_generator_voids_a_run_however_short(
    tmp_path: Path, arrivals: int, late: int, told: str
) -> None:
    run = record(tmp_path)
    histogram = run.series.seconds[BEGIN].histograms["late"]
    histogram.record(100, arrivals - late)
    histogram.record(80_000, late)

    invalid = judged(run).invalid

    assert [told for words in invalid if told in words] == ([told] if told else [])


@pytest.mark.parametrize(
    ("measured_s", "notes", "failed", "outcome"),
    [
        (10, (), 0, "true"),
        (10, (), 3, "false"),
        (10, ("submitters-0 was lost",), 3, "unknown"),
        (0, (), 0, "unknown"),
    ],
)
def test_figures_convict_a_server_only_in_a_valid_run(
    tmp_path: Path, measured_s: int, notes: tuple[str, ...], failed: int, outcome: str
) -> None:
    run = record(tmp_path)
    run.settings = replace(run.settings, slo="errors<=1%")
    run.measured_s, run.notes = measured_s, list(notes)
    run.series.seconds[BEGIN].counters.update(intended=100, ok=100 - failed, fail=failed)

    def outcome_when(correct: Verdict) -> Verdict:
        return judge_run(run, [Finding(invariant="I1", verdict=correct)], None).outcome

    assert outcome_when(Verdict.TRUE) == outcome
    assert outcome_when(Verdict.FALSE) == "false"
    assert outcome_when(Verdict.UNKNOWN) == ("false" if outcome == "false" else "unknown")


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("", "20260101-000000-abcd.json"),
        ("before", "20260101-000000-abcd-before.json"),
        ("v1.2 of ../../my branch", "20260101-000000-abcd-v1.2-of-..-..-my-branch.json"),
        ("../..", "20260101-000000-abcd.json"),
        ("x" * 300, f"20260101-000000-abcd-{'x' * 60}.json"),
    ],
)
def test_label_is_in_the_name_of_the_result_file(label: str, name: str) -> None:
    assert file_name("20260101-000000-abcd", label) == name
