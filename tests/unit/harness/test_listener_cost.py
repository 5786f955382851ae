"""What listening costs is told per read and per listener, and only where it can be told."""

from typing import Any

import pytest

from harness.report.document import Member
from harness.report.listener_cost import ListenerCost, cost_words, listener_cost


def member(kind: str, pid: int, **status: Any) -> Member:
    return Member(kind=kind, host="h", pid=pid, status=status)


SWARMS = [
    member("listeners", 2, listeners=6000, grown_kib=3000),
    member("listeners", 3, listeners=4000, grown_kib=1500),
]


def test_listener_cost_is_cpu_per_read_and_memory_per_listener() -> None:
    cost = listener_cost([member("submitters", 1), *SWARMS], cpu_us=800_000, reads=100_000)

    assert cost.us_per_read == pytest.approx(8.0)
    assert cost.kib_per_listener == pytest.approx(0.45)
    assert cost_words(cost) == [
        ("CPU per delivered read", "8.0 µs", True),
        ("memory per listener", "0.45 KiB", True),
    ]


def test_listener_cost_beyond_its_target_is_marked() -> None:
    words = cost_words(ListenerCost(us_per_read=10.2, kib_per_listener=1.0))

    assert [within for _, _, within in words] == [False, False]


@pytest.mark.parametrize(
    ("members", "reads", "expected"),
    [
        ([member("submitters", 2), *SWARMS], 100_000, ListenerCost(kib_per_listener=0.45)),
        (SWARMS, 20_000, ListenerCost(kib_per_listener=0.45)),
        ([member("listeners", 2, listeners=60, grown_kib=90)], 0, None),
        ([member("listeners", 2, listeners=6000)], 0, None),
        ([], 0, None),
    ],
)
def test_listener_cost_is_left_out_where_it_cannot_be_measured(
    members: list[Member], reads: int, expected: ListenerCost | None
) -> None:
    cost = listener_cost(members, cpu_us=1000, reads=reads)

    assert cost == (expected or ListenerCost())
    assert cost_words(ListenerCost()) == []
