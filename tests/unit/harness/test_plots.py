"""Plots are well-formed whatever the figures, and say what they show."""

import xml.etree.ElementTree as ET

import pytest

from harness.report.charts import heat_bounds, heat_bucket
from harness.report.plots import Axis, Line, Shade, heat_map, line_plot, log_ticks, nice_ticks


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter() if "text" in element.tag]


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(0.0, None)],
        [(0.0, 0.0)],
        [(0.0, 5.0), (1.0, None), (2.0, 7.0)],
        [(0.0, 1e-3), (1.0, 1e9)],
    ],
)
@pytest.mark.parametrize("log", [True, False])
def test_line_plot_is_well_formed(points: list[tuple[float, float | None]], log: bool) -> None:
    svg = line_plot(
        "A <title> & more",
        [Line(name="a<b", points=points)],
        axis=Axis(log=log),
        shades=[Shade(start=0, end=1, label="<x>")],
    )

    assert "A <title> & more" in texts(svg)


def test_line_plot_breaks_at_a_missing_value() -> None:
    svg = line_plot("t", [Line(name="n", points=[(0, 1.0), (1, None), (2, 1.0)])])

    paths = [e.get("d", "") for e in ET.fromstring(svg).iter() if e.tag.endswith("path")]
    assert [path.count("M") for path in paths] == [2]


def test_heat_map_draws_each_bucket_of_each_second_once() -> None:
    svg = heat_map(
        "t",
        {0: {heat_bucket(100): 5}, 1: {heat_bucket(100): 1, heat_bucket(9000): 4}},
        bounds=heat_bounds,
    )

    cells = [e for e in ET.fromstring(svg).iter() if e.get("class") == "heat"]
    assert len(cells) == 3


@pytest.mark.parametrize("us", [1, 2, 99, 100, 12_345, 10_000_000])
def test_heat_buckets_hold_their_durations(us: int) -> None:
    low, high = heat_bounds(heat_bucket(us))

    assert low <= us * 1.000001
    assert us < high * 1.000001


def test_ticks_are_round_and_inside() -> None:
    assert nice_ticks(0, 97) == [0, 20, 40, 60, 80]
    assert nice_ticks(5, 5) == [5]
    assert log_ticks(100, 10_000) == [100, 200, 500, 1000, 2000, 5000, 10_000]
