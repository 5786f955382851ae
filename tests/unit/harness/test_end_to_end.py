"""When an event reached its first, median and last listener, however late, in any process."""

from pathlib import Path

import pytest

from harness.checker.by_content import account_of
from harness.engines import delivery_spread
from harness.engines.by_content.table import ContentTable
from harness.engines.delivery_spread import DeliverySpread
from harness.engines.event_table import EventTable
from harness.judge.end_to_end import complete_series, reached
from harness.net.sse_parser import Item, Kind
from tests.unit.harness.plain_run import Plan, Simulation
from tests.unit.harness.test_result import BEGIN, record

S = 1_000_000
COMMITTED = 1_000_000 * S
"""Unix µs; the moment that the runs of `record` begin."""


def table(*seqs: int, committed_us: int = COMMITTED) -> EventTable:
    found = EventTable()
    for seq in seqs:
        found.note(Item(kind=Kind.UPDATE, id=seq, user="A", score=seq), committed_us)
    return found


def over(found: EventTable, seq: int, *times_us: int, count: int) -> None:
    """`count` listeners had it at these times (first, median, last) after the commit."""
    first, median, last = (COMMITTED + at for at in times_us)
    found.reach(seq, seq, (first, median, last), count)


def rows(*tables: EventTable) -> list[list[int]]:
    wires = [found.to_delivery_spread().to_wire() for found in tables]
    times = reached([DeliverySpread.from_wire(wire) for wire in wires])
    found: list[list[int]] = (times[:, 1:] - COMMITTED).tolist()
    return found


def test_a_listener_that_is_seconds_late_is_the_last() -> None:
    found = table(1)
    over(found, 1, 10, 20, 30, count=9)
    over(found, 1, 5 * S, 5 * S, 5 * S, count=1)

    assert rows(found) == [[10, 20, 5 * S]]


def test_the_median_is_late_when_half_of_the_listeners_are() -> None:
    found = table(1)
    over(found, 1, 10, 20, 30, count=5)
    over(found, 1, 4 * S, 5 * S, 6 * S, count=5)

    assert rows(found) == [[10, 5 * S, 6 * S]]


def test_processes_are_joined_by_earliest_and_latest() -> None:
    one, other = table(1, 2), table(2, 3)
    over(one, 1, 1, 2, 3, count=4)
    over(one, 2, 10, 20, 30, count=4)
    over(other, 2, 5, 25, 28, count=4)

    assert rows(one, other) == [[1, 2, 3], [5, 25, 30]]


def test_event_without_deliveries_is_absent() -> None:
    assert rows() == []
    assert rows(table()) == []
    assert rows(table(1)) == []


def test_a_runs_figures_hold_the_late_listener(tmp_path: Path) -> None:
    found = table(1, 2)
    over(found, 1, 10, 20, 30, count=9)
    over(found, 1, 5 * S, 5 * S, 5 * S, count=1)
    over(found, 2, 10, 20, 30, count=10)
    run = record(tmp_path, spreads=[DeliverySpread.from_wire(found.to_delivery_spread().to_wire())])
    # What the listeners told meanwhile, without the late one.
    run.series.seconds[BEGIN].histograms["reach_last"].record(30, 2)

    complete_series(run, None)

    assert run.figures()["reach_last_max"] == 5 * S
    assert run.histogram("reach_last").total == run.histogram("reach_first").total == 2
    assert run.figures()["reach_median_max"] == 20


def test_a_table_too_large_to_send_leaves_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = table(1, 2)
    over(found, 1, 10, 20, 30, count=9)
    monkeypatch.setattr(delivery_spread, "EVENTS_SENT_MAX", 1)
    run = record(tmp_path, spreads=[DeliverySpread.from_wire(found.to_delivery_spread().to_wire())])
    run.series.seconds[BEGIN].histograms["reach_last"].record(30, 1)

    complete_series(run, None)

    assert run.figures()["reach_last_max"] is None


def test_events_without_ids_tell_when_submissions_arrived(
    tmp_path: Path,
) -> None:
    simulation = Simulation(Plan(submissions=1, users=3, lie_at=9))
    account = account_of(simulation.evidence())
    ((submission, event),) = account.chains[0].shown
    found = ContentTable(10)
    found.new_number(event.name, event.score)
    over(found, 0, 10 * S, 20 * S, 30 * S, count=5)
    spread = DeliverySpread.from_wire(found.to_delivery_spread().to_wire(), "listeners-0")
    made = record(tmp_path, spreads=[spread])

    complete_series(made, None, account)

    names = ("submit_deliver_first", "submit_deliver_median", "submit_deliver_last")
    assert submission.key == "run-0"
    assert [made.series.merged(name).total for name in names] == [1, 1, 1]
    last_us = made.series.merged("submit_deliver_last").at(1.0)
    assert last_us == pytest.approx(30 * S, rel=0.05)
