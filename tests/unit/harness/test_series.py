"""Seconds add up, whoever reports them and in whatever order."""

from harness.measure.series import Series


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
