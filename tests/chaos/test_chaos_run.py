"""The chaos runner on a real stack: a few faults of each way to inject them, then its files."""

from pathlib import Path

import uvloop

from harness.__main__ import main
from harness.chaos import schedule
from harness.chaos.page import html_page
from harness.chaos.report import report_of, terminal
from harness.chaos.run import Plan, run_chaos
from harness.chaos.schedule import Planned
from harness.checker import Verdict
from harness.net.fault_proxy import Mode

FAULTS = (
    Planned(number=1, kind=Mode.RESET_AFTER, target="client-server", at_s=2, hold_s=0.5),
    Planned(
        number=2,
        kind=schedule.FAILPOINT,
        target="worker",
        action="record.after_commit exit",
        at_s=3,
    ),
    Planned(number=3, kind=schedule.EMPTY, target="redis", at_s=4, hold_s=0.2),
    Planned(number=4, kind=schedule.PAUSE, target="mysql", at_s=5, hold_s=1.0),
    Planned(number=5, kind=schedule.KILL, target="server", at_s=6),
)


def plan(seed: int) -> Plan:
    return Plan(
        seed=seed,
        short=True,
        users=40,
        clients=16,
        rate=150,
        listeners=20,
        restless=8,
        limit_count=20,
        limit_window_s=2,
        faults=FAULTS,
    )


def test_chaos_run_with_a_few_faults_passes_and_can_be_rejudged(tmp_path: Path) -> None:
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        run = uvloop.run(run_chaos(folder, plan(seed), lambda _: None))
        report = report_of(run)
        # A slow machine may see too little, which another run may mend; a violation, never.
        if report.verdict is not Verdict.UNKNOWN:
            break

    assert report.good, terminal(report)
    assert html_page(report).startswith("<!doctype html>")
    assert report.verdict_black_box == "true", terminal(report)
    assert [fault.kind for fault in report.faults] == [fault.label for fault in FAULTS]
    assert all(fault.fired and fault.recovery_ms for fault in report.faults)
    for fault in run.evidence.faults:
        assert fault.recovered_ns is not None
        assert fault.heal_ns is not None
        # From the heal, restarts and all; a fault of a moment from when it struck.
        assert (fault.recovery_ms or 0) * 1e6 > fault.recovered_ns - fault.heal_ns - 50e6
    assert main(["check", str(folder)]) == 0
    assert main(["check", str(folder), "--black-box"]) == 0


def test_chaos_history_without_its_end_does_not_pass(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_bytes(
        b'{"type":"header","index":0,"time_ns":0,"version":1,"process":"p","unix_us":0}\n'
    )

    assert main(["check", str(tmp_path)]) == 3


def test_a_missing_history_is_wrong_use(tmp_path: Path) -> None:
    assert main(["check", str(tmp_path / "nothing.jsonl")]) == 2
