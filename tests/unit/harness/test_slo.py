"""SLO text is read exactly, wrong text is refused with the right form, and verdicts have three
values."""

from pathlib import Path

import pytest

from harness.measure.figures import DURATIONS, PERCENTILES
from harness.measure.slo import (
    BadSlo,
    canonical,
    histogram_and_quantile,
    judge,
    load_slo,
    parse_slo,
)


@pytest.mark.parametrize(
    ("text", "figure", "operator", "value"),
    [
        ("p99<250ms", "p99", "<", 250_000),
        ("p99<=250ms", "p99", "<=", 250_000),
        ("lag_p99.9 < 1.5s", "lag_p99.9", "<", 1_500_000),
        ("errors<0.1%", "errors", "<", 0.001),
        ("errors<=0%", "errors", "<=", 0),
        ("errors:0", "errors", "<=", 0),
        ("goodput>990/s", "goodput", ">", 990),
        ("goodput>990", "goodput", ">", 990),
        ("goodput>=1k/s", "goodput", ">=", 1000),
        ("throughput>600/m", "throughput", ">", 10),
        ("max<900us", "max", "<", 900),
        ("connect_p50<1m", "connect_p50", "<", 60_000_000),
        ("p99:250ms", "p99", "<=", 250_000),
        ("goodput:990/s", "goodput", ">=", 990),
    ],
)
def test_limit_is_read_with_its_unit(text: str, figure: str, operator: str, value: float) -> None:
    [limit] = parse_slo(text)

    assert (limit.figure, limit.operator) == (figure, operator)
    assert limit.value == pytest.approx(value)


def test_every_duration_and_percentile_can_be_limited() -> None:
    text = ",".join(f"{d.name}_{p.label}<1s" for d in DURATIONS for p in PERCENTILES)

    found = [histogram_and_quantile(limit.figure) or ("", 0.0) for limit in parse_slo(text)]

    pairs = [(d.name, p.quantile) for d in DURATIONS for p in PERCENTILES]
    assert [name for name, _ in found] == [name for name, _ in pairs]
    assert [quantile for _, quantile in found] == pytest.approx([q for _, q in pairs])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("p99", "is not a limit; try p99<250ms"),
        ("p99=5ms", "is not a limit"),
        ("errors==0", "is not a limit"),
        ("p99<-5ms", "is not a limit"),
        ("p99<nan", "is not a limit"),
        ("p99<infs", "is not a limit"),
        ("p99<5", "needs a unit of time"),
        ("p99<5kg", "needs a unit of time"),
        ("speed<5", "there is no figure 'speed'"),
        ("respnse_p99<250ms", "did you mean response_p99?"),
        ("laag_p99<1s", "did you mean lag_p99?"),
        ("eror<1%", "did you mean errors?"),
        ("p150<1s", "percentiles are above p0 and at most p100"),
        ("p0<1s", "percentiles are above p0 and at most p100"),
        ("errors<5", "needs a percentage, as in errors<0.1%"),
        ("errors<5ms", "needs a percentage"),
        ("goodput>990%", "needs a rate, as in goodput>990/s"),
        ("rate<10%", "needs a rate"),
        ("p99<0ms", "can never hold"),
        ("errors<0%", "can never hold"),
        ("errors>100%", "can never hold"),
        ("errors<=100%", "can never fail"),
        ("errors<500%", "can never fail"),
        ("goodput>=0/s", "can never fail"),
        ("p99>=0ms", "can never fail"),
        ("p99<5000s", "can never fail"),
    ],
)
def test_wrong_limit_is_refused_with_the_right_form(text: str, told: str) -> None:
    with pytest.raises(BadSlo) as refused:
        parse_slo(text)

    assert repr(text) in str(refused.value)
    assert told in str(refused.value)


def test_all_invalid_limits_are_reported_together() -> None:
    with pytest.raises(BadSlo) as refused:
        parse_slo("p99<250ms,p150<1s,errors<5,goodput>990%")

    assert [line.split("'")[1] for line in str(refused.value).splitlines()] == [
        "p150<1s",
        "errors<5",
        "goodput>990%",
    ]


@pytest.mark.parametrize("prefix", ["@", ""])
def test_limits_come_from_a_file_with_comments(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "slo.txt"
    path.write_text("p99<250ms  # the API\n\nlag_p99<500ms\n")

    assert canonical(load_slo(f"{prefix}{path}")) == "p99<250ms,lag_p99<500ms"
    assert load_slo("") == ()


def test_limits_come_from_a_toml_file(tmp_path: Path) -> None:
    path = tmp_path / "slo.toml"
    path.write_text(
        'p99 = "250ms"\n"lag_p99.9" = "< 1s"\nreach_last_p99.9 = "2s"\ngoodput = "990/s"\n'
        "errors = 0\n"
    )

    limits = load_slo(f"@{path}")

    assert [(limit.figure, limit.operator, limit.value) for limit in limits] == [
        ("p99", "<=", 250_000),
        ("lag_p99.9", "<", 1_000_000),
        ("reach_last_p99.9", "<=", 2_000_000),
        ("goodput", ">=", 990),
        ("errors", "<=", 0),
    ]
    assert parse_slo(canonical(limits)) == limits


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("slo.toml", "p99 = ", "is not TOML"),
        ("slo.toml", 'p99 = "soon"', "in "),
        ("slo.txt", "p150<1s", "percentiles are above p0"),
        ("missing.toml", None, "No such file"),
    ],
)
def test_unreadable_file_of_limits_is_named(
    tmp_path: Path, name: str, content: str | None, told: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)

    with pytest.raises(BadSlo, match=name) as refused:
        load_slo(f"@{path}")

    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "measured", "verdict"),
    [
        ("p99<250ms", 249_999.0, "true"),
        ("p99<250ms", 250_000.0, "false"),
        ("p99<=250ms", 250_000.0, "true"),
        ("p99<250ms", None, "unknown"),
        ("goodput>=990/s", 990.0, "true"),
        ("goodput>990/s", 990.0, "false"),
        ("errors<=0%", 0.0, "true"),
        ("errors<=0%", 1e-6, "false"),
    ],
)
def test_limit_passes_only_with_a_measured_figure_on_its_right_side(
    text: str, measured: float | None, verdict: str
) -> None:
    limits = parse_slo(text)

    [result] = judge(limits, {limits[0].figure: measured})

    assert result.verdict == verdict
    assert result.passed is (verdict == "true")


@pytest.mark.parametrize(
    ("text", "samples"),
    [("p50<1s", 20), ("p99<1s", 1000), ("p999<1s", 10_000), ("max<1s", 1), ("errors<1%", 0)],
)
def test_limit_knows_how_many_samples_its_percentile_needs(text: str, samples: int) -> None:
    [limit] = parse_slo(text)

    assert limit.samples_min == samples


def test_figures_name_their_histogram_and_quantile() -> None:
    assert histogram_and_quantile("p99") == ("response", 0.99)
    name, quantile = histogram_and_quantile("reach_last_p99.9") or ("", 0.0)
    assert name == "reach_last"
    assert quantile == pytest.approx(0.999)
    assert histogram_and_quantile("lag_max") == ("lag", 1.0)
    assert histogram_and_quantile("errors") is None
