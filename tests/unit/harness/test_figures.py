"""Figures are listed once: names are unique, and no other module lists percentiles."""

import re
from pathlib import Path

from harness.measure.figures import DURATION_NAMES, DURATIONS, PERCENTILES, RATES, SHARES, labelled

HARNESS = Path(__file__).parents[3] / "harness"


def test_names_and_labels_are_unique() -> None:
    names = [*DURATION_NAMES, *SHARES, *RATES]

    assert len(set(names)) == len(names)
    assert len({duration.label for duration in DURATIONS}) == len(DURATIONS)
    assert len({percentile.key for percentile in PERCENTILES}) == len(PERCENTILES)
    assert labelled("reach_last") == "last listener"


def test_percentiles_rise() -> None:
    quantiles = [percentile.quantile for percentile in PERCENTILES]

    assert quantiles == sorted(set(quantiles))
    assert all(0 < quantile <= 1 for quantile in quantiles)


def test_no_other_module_lists_percentiles() -> None:
    listed = re.compile(r"p50\W+p9\d|p90\W+p99")
    found = [
        path.name
        for path in HARNESS.glob("**/*.py")
        if path.name != "figures.py" and listed.search(path.read_text("utf-8"))
    ]

    assert found == []
