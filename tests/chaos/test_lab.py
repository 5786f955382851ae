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


SEEDS = 3
"""Runs until one has settled: a machine that is busy otherwise may see too little in one."""


@pytest.mark.lab
def test_fail_overs_that_lose_changes_lie_to_nobody(tmp_path: Path) -> None:
    missing = lacking()
    need(not missing, " ".join(missing) or "a lab")
    judged = ""
    for seed in range(1, SEEDS + 1):
        run = run_lab(tmp_path / str(seed), plan(seed), print)

        told = terminal(report_of(run))
        findings = {f.invariant: f for f in run.findings}
        assert [f.verdict for f in run.findings if f.verdict == "false"] == [], told
        assert labs() == []
        judged = findings["I11 one history"].verdict
        if judged == findings["I1 exactly once"].verdict == "true":
            assert findings["I11 one history"].counts["histories"] == 1, told
            assert all(fault.fired for fault in report_of(run).faults), told
            return
    pytest.fail(f"no run of {SEEDS} could be judged: {judged}")


def plan(seed: int) -> Plan:
    """A short run of both faults."""
    return Plan(
        seed=seed,
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
