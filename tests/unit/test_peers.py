"""What `make bench-peers` says of its samples."""

import pytest

from benchmarks.peers import report
from benchmarks.peers.run import turns
from benchmarks.peers.targets import TARGETS, Target, judge

FASTER = Target(group="g", what="ours beside theirs", figure="ours", against="theirs", bound=2)
QUICK = Target(group="g", what="latency", figure="ms", bound=100, at_most=True, unit="ms")
MACHINE = {
    "cpus": 2,
    "cpu": "cpu",
    "memory_mib": 1,
    "kernel": "6",
    "python": "3",
    "commit": "abc",
    "changed": False,
}


def test_ratios_are_taken_round_by_round_and_judged_by_their_median() -> None:
    found = judge(FASTER, {"ours": [10, 30, 100], "theirs": [10, 10, 10]})

    assert (found.median, found.low, found.high, found.rounds) == (3, 1, 10, 3)
    assert found.met


def test_one_good_round_does_not_meet_a_target() -> None:
    assert not judge(FASTER, {"ours": [10, 10, 100], "theirs": [10, 10, 10]}).met


def test_at_most_is_met_below_the_bound() -> None:
    assert judge(QUICK, {"ms": [90, 120, 80]}).met
    assert not judge(QUICK, {"ms": [110, 120, 80]}).met


@pytest.mark.parametrize(
    "samples",
    [{}, {"ours": [1.0]}, {"ours": [None], "theirs": [1.0]}, {"ours": [1.0], "theirs": [0.0]}],
)
def test_what_was_not_measured_is_missed(samples: dict[str, list[float | None]]) -> None:
    found = judge(FASTER, samples)

    assert found.median is None
    assert not found.met
    assert report.line(found).startswith("MISSED")


def test_every_target_is_about_something_of_its_own() -> None:
    assert len({(t.figure, t.against, t.unit) for t in TARGETS}) == len(TARGETS)


def test_each_peer_has_each_place_in_a_round_at_some_time() -> None:
    names = ("a", "b", "c")

    orders = [turns(names, number) for number in range(6)]

    assert all(sorted(order) == sorted(names) for order in orders)
    assert {order[0] for order in orders} == set(names)
    assert {order[-1] for order in orders} == set(names)


def test_the_table_tells_target_median_and_spread() -> None:
    results = [judge(QUICK, {"ms": [80.0, 95.0, 90.0]})]
    settings = {"rounds": 3, "load_before": 0.5}

    text = report.markdown(results, {"ms": [80.0, 95.0, 90.0]}, MACHINE, settings, "results/x.json")

    assert "| latency | ≤ 100 ms | **90** | 80 – 95 | met |" in text
    assert "commit abc;" in text
    assert "[`results/x.json`](results/x.json)" in text
