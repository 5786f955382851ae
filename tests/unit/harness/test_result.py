"""The verdict on a run holds against it whatever it could not show."""

from pathlib import Path
from typing import Any

import pytest

from harness.checker import invariants
from harness.checker.invariants import judge_history
from harness.checker.verdict import Verdict
from harness.engines.listener_stats import Account
from harness.evidence.board_look import Look
from harness.evidence.history_writer import SubmissionJournal
from harness.measure.series import Series
from harness.measure.settings import RunSettings
from harness.run.messages import Final, Report, SwarmStatus
from harness.run.result import RunRecord
from harness.run.worker_state import Member

BEGIN = 2
"""The schedule's second 0 in the series."""


def swarm(**status: int) -> Member:
    return Member(ident="s", kind="swarm", pid=1, host="h", status=status)


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
    member = swarm()

    def report(behind: int, final: Final | None = None) -> Report:
        status = SwarmStatus(account=Account(behind=behind), cpu_s=1)
        return Report(ident=member.ident, status=status, final=final)

    member.hear(report(0))
    member.hear(report(3, Final(history_bytes=5, latest={"A": (1, 2)})))
    member.hear(report(0))

    assert member.status["behind"] == 3
    assert member.latest == {"A": (1, 2)}


@pytest.mark.parametrize("converged", [True, False])
def test_listeners_that_never_came_to_the_end_make_a_run_incorrect(
    tmp_path: Path, converged: bool
) -> None:
    run = record(tmp_path, members=[swarm(listeners=3)], converged=converged)

    run.judge()

    told = "the listeners did not all come to stand at the last change" in run.verdict.incorrect
    assert told is not converged


def test_a_history_too_large_to_judge_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SubmissionJournal(tmp_path, name="flood-0", run_id="r").close(drained=True)
    monkeypatch.setattr(invariants, "BYTES_MAX", 10)

    [finding] = judge_history(tmp_path, "")

    assert finding.verdict is Verdict.UNKNOWN
    assert "too large" in finding.explanations[0]


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

    run.judge()

    assert [told for words in run.verdict.invalid if told in words] == ([told] if told else [])
