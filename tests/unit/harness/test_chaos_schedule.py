"""The chaos schedule: a pure function of the seed that covers what it promises."""

from itertools import pairwise

import pytest

from harness.chaos.schedule import (
    CLUSTER_PARTS,
    EDGES,
    FAILPOINT,
    LOSE,
    LOST_MOST,
    PROCESSES,
    duration_s,
    groups_of,
    plan,
)
from harness.net.fault_proxy import Mode


def test_schedule_depends_only_on_the_seed() -> None:
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


def test_the_long_form_has_ten_pairs_that_strike_together() -> None:
    pairs = [group for group in groups_of(plan(1, short=False)) if len(group) > 1]

    assert len(pairs) == 10
    for first, second in pairs:
        assert second.beside == first.number
        assert second.at_s > first.at_s


def test_every_process_has_a_pause_longer_than_all_timeouts() -> None:
    pauses = [f for f in plan(1, short=False) if f.kind == "pause" and f.hold_s > 10]

    assert {fault.target for fault in pauses} == set(PROCESSES)


def test_mysql_loses_few_changes_and_many_when_asked() -> None:
    with_losses = plan(1, short=False, losses=True)
    lost = [f.changes for f in with_losses if f.kind == LOSE]

    assert len(lost) == len(LOST_MOST) == len(with_losses) - len(plan(1, short=False))
    assert all(1 <= count <= most for count, most in zip(sorted(lost), LOST_MOST, strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_the_short_form_has_one_of_each_kind_and_fits_a_ci_run(seed: int) -> None:
    faults = plan(seed, short=True)

    kinds = {fault.kind for fault in faults}
    assert {mode.value for mode in Mode if mode is not Mode.PASS} < kinds
    assert {"kill -9", "pause", "restart", "flushall", "comes back empty", FAILPOINT} < kinds
    assert 45 < duration_s(faults) < 100


@pytest.mark.parametrize("short", [True, False])
def test_a_cluster_adds_faults_of_its_parts_to_the_others(short: bool) -> None:
    faults = plan(5, short=short, cluster=True)

    of_parts = {(fault.kind, fault.target) for fault in faults if fault.target in CLUSTER_PARTS}
    assert ("kill -9", "temporal-history") in of_parts
    assert len(of_parts) == (3 if short else 3 * len(CLUSTER_PARTS))
    assert len(faults) == len(plan(5, short=short)) + len(of_parts)


def test_groups_follow_each_other_and_never_overlap_as_planned() -> None:
    groups = groups_of(plan(3, short=False))

    for earlier, later in pairwise(groups):
        assert later[0].at_s >= max(fault.at_s + fault.hold_s for fault in earlier)


def test_faults_are_numbered_in_order() -> None:
    faults = plan(3, short=False)

    assert [fault.number for fault in faults] == list(range(1, len(faults) + 1))
