"""`check` repeats of a saved history what was said when the run ended, whatever the server did."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.__main__ import main
from harness.checker import Verdict, overall
from harness.engines.null_server import Faults
from harness.engines.standalone import null_server
from harness.sessions.trial import run_trial

MODES: dict[str, tuple[Faults, Verdict]] = {
    "honest": (Faults(), Verdict.TRUE),
    "stall": (Faults(stall_at_s=0.5, stall_s=0.5), Verdict.TRUE),
    "slow listener": (Faults(slow_listener_s=0.2, victim=3), Verdict.TRUE),
    "streams cut": (Faults(cut_at_s=0.5), Verdict.TRUE),
    "answers lost": (Faults(lose_answers=frozenset({10, 20})), Verdict.TRUE),
    "submissions refused": (Faults(refuse_submissions=frozenset({10})), Verdict.TRUE),
    "submissions lost": (Faults(lose_submissions=frozenset({10, 20})), Verdict.FALSE),
    "submissions doubled": (Faults(double_submissions=frozenset({10})), Verdict.FALSE),
    "events lost": (Faults(lose_events=frozenset({50, 51}), victim=3), Verdict.FALSE),
    "events doubled": (Faults(duplicate_events=frozenset({60}), victim=3), Verdict.FALSE),
    "events swapped": (Faults(swap_events=frozenset(range(100, 110))), Verdict.FALSE),
    "events garbled": (Faults(garble_events=frozenset({70}), victim=3), Verdict.FALSE),
}


def checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["check", str(folder), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


@pytest.mark.parametrize("mode", MODES)
def test_check_repeats_the_verdict_of_a_run(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults, expected = MODES[mode]
    with null_server(faults, players=100) as (url, _):
        trial = run_trial(url, rate="300", seconds=1.5, listeners=20, folder=tmp_path)

    code, found = checked(tmp_path, capsys)

    assert overall(trial.findings) is expected, trial.findings
    assert found["verdict"] == expected
    assert found["findings"] == json.loads(msgspec.json.encode(trial.findings))
    assert code == {Verdict.TRUE: 0, Verdict.FALSE: 1}[expected]


def test_torn_history_is_no_acquittal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with null_server(players=100) as (url, _):
        run_trial(url, rate="100", seconds=1.0, listeners=5, folder=tmp_path)
    path = tmp_path / "history-submitters-0.jsonl"
    path.write_bytes(path.read_bytes()[:-200])

    code, found = checked(tmp_path, capsys)

    assert (code, found["verdict"]) == (3, "unknown")
