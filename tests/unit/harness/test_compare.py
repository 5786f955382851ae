"""Differences are told only when they are both unlikely and large."""

import random

import pytest

from harness.report.compare import different_settings, judge, rank_test
from harness.report.document import LoadResult
from tests.unit.harness.documents import decoded, run_document


def samples(middle: float, count: int, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(middle, middle * 0.05) for _ in range(count)]


def test_rank_test_agrees_with_known_values() -> None:
    # scipy.stats.mannwhitneyu(..., method="asymptotic") on the same data.
    assert rank_test([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(0.0121858, rel=1e-5)
    assert rank_test([1, 2, 2, 3], [2, 3, 3, 4]) == pytest.approx(0.172034, rel=1e-5)
    assert rank_test([5, 5, 5], [5, 5, 5]) == 1.0


def test_compare_calls_equal_runs_different_at_most_at_its_significance() -> None:
    false = sum(
        judge("x", samples(100, 20, 2 * n), samples(100, 20, 2 * n + 1), worse_up=True).judgement
        != "same"
        for n in range(300)
    )

    assert false <= 3


def test_compare_calls_a_quarter_slower_worse_and_a_quarter_faster_better() -> None:
    for middle, judgement in ((125, "worse"), (75, "better"), (104, "same")):
        found = judge("x", samples(100, 20, 1), samples(middle, 20, 2), worse_up=True)
        assert found.judgement == judgement

    fewer = judge("accepted per second", samples(100, 20, 1), samples(70, 20, 2), worse_up=False)
    assert fewer.judgement == "worse"


def test_compare_needs_at_least_eight_seconds() -> None:
    found = judge("x", samples(100, 5, 1), samples(300, 5, 2), worse_up=True)

    assert found.judgement == "unclear"


def test_missing_setting_of_an_older_run_counts_as_its_default() -> None:
    before, same, other = (
        decoded(LoadResult, run_document(settings={"rate": "100", **more}))
        for more in ({}, {"stream_gzip": False}, {"stream_gzip": True})
    )

    assert different_settings(before, same) == []
    assert different_settings(before, other) == ["stream_gzip: False and True"]
