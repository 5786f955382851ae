"""The chaos schedule: a pure function of the seed that covers what it promises."""

from itertools import pairwise

import pytest

from harness.chaos.schedule import EDGES, FAILPOINT, PROCESSES, duration_s, plan
from harness.proxy import Mode


def test_the_same_seed_gives_the_same_schedule_and_another_seed_another() -> None:
    assert plan(7, short=False) == plan(7, short=False)
    assert plan(7, short=False) != plan(8, short=False)


def test_the_long_form_holds_every_fault_on_every_process_and_edge() -> None:
    faults = plan(1, short=False)

    proxied = {(fault.kind, fault.target) for fault in faults if fault.target in EDGES}
    assert proxied == {(mode.value, edge) for mode in Mode if mode != Mode.PASS for edge in EDGES}
    for kind in ("kill -9", "pause", "restart"):
        assert {f.target for f in faults if f.kind == kind} == set(PROCESSES)
    assert len(faults) >= 60
    assert len({fault.label for fault in faults}) >= 15
    assert duration_s(faults) >= 600


def test_pauses_outlast_every_timeout_of_the_system() -> None:
    assert all(f.hold_s > 10 for f in plan(1, short=False) if f.kind == "pause")


@pytest.mark.parametrize("seed", range(20))
def test_the_short_form_has_one_of_each_kind_and_fits_a_ci_run(seed: int) -> None:
    faults = plan(seed, short=True)

    kinds = {fault.kind for fault in faults}
    assert {mode.value for mode in Mode if mode is not Mode.PASS} < kinds
    assert {"kill -9", "pause", "restart", "flushall", "comes back empty", FAILPOINT} < kinds
    assert 45 < duration_s(faults) < 90


def test_faults_follow_each_other_and_never_overlap_as_planned() -> None:
    faults = plan(3, short=False)

    for earlier, later in pairwise(faults):
        assert later.at_s >= earlier.at_s + earlier.hold_s
        assert later.number == earlier.number + 1
