"""The lab on this machine, as root: two faults that need several hosts, judged by the checker."""

from pathlib import Path

import pytest

from harness.chaos.report import report_of, terminal
from harness.chaos.run import Plan
from harness.chaos.schedule import Planned
from harness.lab import schedule
from harness.lab.network import labs
from harness.lab.run import run_lab
from harness.lab.system import lacking
from tests.support.programs import need

FAULTS = (
    Planned(number=1, kind=schedule.LOSSY_PROMOTION, target="MySQL", at_s=3, hold_s=0.5),
    Planned(number=2, kind=schedule.SENTINEL, target="Redis", at_s=4),
)


@pytest.mark.xdist_group("lab")
def test_fail_overs_that_lose_changes_lie_to_nobody(tmp_path: Path) -> None:
    missing = lacking()
    need(not missing, " ".join(missing) or "a lab")
    said: list[str] = []
    chosen = Plan(
        seed=1,
        short=True,
        lab=True,
        users=40,
        clients=16,
        rate=100,
        listeners=20,
        restless=4,
        limit_count=20,
        limit_window_s=2,
        faults=FAULTS,
    )

    run = run_lab(tmp_path, chosen, said.append)

    report = report_of(run)
    findings = {f.invariant: f for f in run.findings}
    assert findings["I11 one history"].verdict == "true", terminal(report)
    assert findings["I11 one history"].counts["histories"] == 1, terminal(report)
    assert findings["I1 exactly once"].verdict == "true", terminal(report)
    assert [f.verdict for f in run.findings if f.verdict == "false"] == [], terminal(report)
    assert all(fault.fired for fault in report.faults), terminal(report)
    assert labs() == []
