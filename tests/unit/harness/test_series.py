"""Seconds add up, whoever reports them and in whatever order."""

import pytest

from harness.measure.series import FINE_S, FRESH_S, STEP_S, Series


def filled(second: int, count: int, value: int) -> Series:
    series = Series()
    series.seconds[second].counters["ok"] += count
    series.seconds[second].histograms["response"].record(value, count)
    return series


def test_series_of_two_workers_add_up_in_any_order() -> None:
    wires = [filled(0, 2, 10).drain(), filled(0, 3, 20).drain(), filled(1, 5, 30).drain()]
    forward, backward = Series(), Series()

    for wire in wires:
        forward.absorb(wire)
    for wire in reversed(wires):
        backward.absorb(wire)

    assert forward.total("ok") == backward.total("ok") == 10
    assert forward.merged("response").to_wire() == backward.merged("response").to_wire()
    assert forward.total("ok", start=0, end=1) == 5


def test_series_is_empty_after_a_drain_and_keeps_counting() -> None:
    series = filled(0, 1, 10)

    assert series.drain() != []
    assert series.drain() == []
    series.seconds[0].counters["ok"] += 1
    assert series.drain() == [[0, {"ok": 1}, {}]]


def test_series_window_leaves_out_the_warm_up() -> None:
    series = Series()
    for second in range(-2, 10):
        series.seconds[second].histograms["response"].record(1000 if second < 3 else 10)

    assert series.merged("response", start=3, end=10).max_us == 10
    assert series.names() == (set(), {"response"})


def test_packed_seconds_tell_the_same_and_take_what_comes_late() -> None:
    series = Series()
    for second in range(300):
        series.seconds[second].counters["ok"] += 1
        series.seconds[second].histograms["response"].record(100 + second)
    before = series.merged("response").to_wire()

    series.compact(300)

    assert series.merged("response").to_wire() == before
    assert not series.seconds[0].histograms
    assert series.seconds[300 - FRESH_S].histograms
    series.absorb(filled(0, 2, 7).drain())
    assert series.merged("response", end=1).total == 3
    series.compact(400)
    assert series.seconds[0].histogram("response").total == 3
    assert series.names() == ({"ok"}, {"response"})
    series.seconds[0].drop("response")
    assert series.merged("response", end=1).total == 0


def test_seconds_of_more_than_an_hour_ago_become_minutes_without_loss() -> None:
    series, length, measured_from = Series(), FINE_S + 200, 5
    for second in range(-3, length):
        series.seconds[second].counters["ok"] += 1
        series.seconds[second].histograms["response"].record(1000 if second < 5 else 10)
        series.compact(second, measured_from)

    fine = [n for n, second in series.seconds.items() if second.span_s == 1]
    spans = {n: s.counters["ok"] for n, s in series.seconds.items() if s.span_s > 1}
    assert spans == {5: STEP_S, 65: STEP_S, 125: STEP_S}
    assert sorted(fine) == [*range(-3, 5), *range(185, length)]
    assert series.total("ok") == length + 3
    assert series.merged("response", start=measured_from).max_us == 10
    # What is told late of a second goes to its span.
    series.seconds[70].counters["ok"] += 1
    assert series.seconds[65].counters["ok"] == STEP_S + 1
    assert 70 not in series.seconds


def test_second_far_away_by_another_clock_costs_nothing() -> None:
    series = Series()
    series.seconds[10**12].counters["deliveries"] += 1
    for second in (0, FINE_S * 2):
        series.seconds[second].counters["ok"] += 1
        series.compact(second, 0)

    assert series.total("ok") == 2
    assert series.total("deliveries") == 1


@pytest.mark.parametrize("seconds", [FINE_S * 3])
def test_memory_of_a_long_run_is_bounded(seconds: int) -> None:
    series = Series()
    for second in range(seconds):
        series.seconds[second].counters["ok"] += 1
        series.compact(second, 0)

    assert len(series.seconds) <= FINE_S + 2 * FINE_S // STEP_S + STEP_S + 10
