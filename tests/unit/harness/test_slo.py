"""Limits mean what they say, and what was not measured is not kept."""

from pathlib import Path

import pytest

from harness.measure.slo import BadSlo, histogram_and_quantile, judge, load_slo, parse_slo


@pytest.mark.parametrize(
    ("text", "figure", "below", "value"),
    [
        ("p99<250ms", "p99", True, 250_000),
        ("lag_p99.9 < 1.5s", "lag_p99.9", True, 1_500_000),
        ("errors<0.1%", "errors", True, 0.001),
        ("goodput>990/s", "goodput", False, 990),
        ("max<900us", "max", True, 900),
    ],
)
def test_a_limit_is_read(text: str, figure: str, below: bool, value: float) -> None:
    [limit] = parse_slo(text)

    assert (limit.figure, limit.below) == (figure, below)
    assert limit.value == pytest.approx(value)


@pytest.mark.parametrize("text", ["p99", "p99=5ms", "p99<5", "speed<5", "errors<5ms", "p99<5kg"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(BadSlo):
        parse_slo(text)


def test_limits_come_from_a_file_with_comments(tmp_path: Path) -> None:
    path = tmp_path / "slo.txt"
    path.write_text("p99<250ms  # the API\n\nlag_p99<500ms\n")

    assert [limit.text for limit in load_slo(str(path))] == ["p99<250ms", "lag_p99<500ms"]
    assert load_slo("") == ()


@pytest.mark.parametrize(
    ("measured", "kept"), [(249_999.0, True), (250_000.0, False), (None, False)]
)
def test_a_limit_is_kept_only_by_a_figure_on_its_right_side(
    measured: float | None, kept: bool
) -> None:
    [verdict] = judge(parse_slo("p99<250ms"), {"p99": measured})

    assert verdict.kept is kept


def test_figures_name_their_histogram_and_quantile() -> None:
    assert histogram_and_quantile("p99") == ("response", 0.99)
    name, quantile = histogram_and_quantile("reach_last_p99.9") or ("", 0.0)
    assert name == "reach_last"
    assert quantile == pytest.approx(0.999)
    assert histogram_and_quantile("lag_max") == ("lag", 1.0)
    assert histogram_and_quantile("errors") is None
