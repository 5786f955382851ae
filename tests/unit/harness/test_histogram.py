"""The histogram agrees with HdrHistogram and loses nothing by being split and merged."""

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.histogram import (
    MAX_US,
    Histogram,
    bucket_of,
    buckets_of,
    highest_of,
    lowest_of,
)

durations = st.integers(min_value=0, max_value=MAX_US)


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(durations)
def test_bucket_holds_its_durations_within_a_thousandth(value: int) -> None:
    low, high = lowest_of(bucket_of(value)), highest_of(bucket_of(value))

    assert low <= value <= high
    assert high - low <= max(0, value // 1000)


@given(st.lists(durations, min_size=1))
def test_vectorised_buckets_equal_scalar_buckets(values: list[int]) -> None:
    assert buckets_of(np.array(values)).tolist() == [bucket_of(value) for value in values]


@given(st.lists(durations, min_size=1), st.floats(min_value=0.01, max_value=0.999))
def test_quantiles_equal_quantiles_of_sorted_values(values: list[int], quantile: float) -> None:
    exact = sorted(values)[max(0, int(np.ceil(quantile * len(values) - 1e-9)) - 1)]

    assert bucket_of(of(values).value_at(quantile)) == bucket_of(exact)


@given(st.lists(st.lists(durations), min_size=1, max_size=5))
def test_histograms_merge_after_serialisation(parts: list[list[int]]) -> None:
    whole = of([value for part in parts for value in part])

    merged = Histogram.union(Histogram.from_wire(of(part).to_wire()) for part in parts)

    assert merged.to_wire() == whole.to_wire()
    assert merged.total == whole.total


@given(st.lists(durations, min_size=1), st.lists(durations, min_size=1), st.data())
def test_recording_differences_equals_recording_each_pair(
    ends: list[int], starts: list[int], data: st.DataObject
) -> None:
    weights = [data.draw(st.integers(1, 5)) for _ in starts]
    expected = Histogram()
    for start, weight in zip(starts, weights, strict=True):
        for end in ends:
            expected.record(end - start, weight)

    histogram = Histogram()
    histogram.record_differences(np.array(ends), np.array(starts), np.array(weights))

    assert histogram.to_wire() == expected.to_wire()
    assert histogram.total == expected.total


def test_hdr_encoding_gives_other_tools_the_same_percentiles() -> None:
    values = [round(1.01**n) for n in range(2000) if 1.01**n < MAX_US]
    histogram = of(values)

    decoded = HdrHistogram.decode(histogram.to_hdr())

    assert decoded.get_total_count() == len(values)
    for percentile in (50, 90, 99):
        mine = histogram.value_at(percentile / 100)
        assert bucket_of(decoded.get_value_at_percentile(percentile)) == bucket_of(mine)


@pytest.mark.parametrize(
    ("samples", "quantile", "told"),
    [
        (999, 0.99, False),
        (1000, 0.99, True),
        (9_999, 0.999, False),
        (10_000, 0.999, True),
        (19, 0.5, False),
        (20, 0.5, True),
    ],
)
def test_percentile_needs_ten_samples_beyond_it(samples: int, quantile: float, told: bool) -> None:
    histogram = Histogram()
    histogram.record(5, samples)

    assert (histogram.at(quantile) is not None) is told


def test_maximum_is_exact_from_one_sample_on() -> None:
    assert of([1_234_567]).at(1) == 1_234_567
    assert Histogram().at(1) is None


def test_durations_outside_the_range_are_clipped() -> None:
    histogram = of([-5, MAX_US + 1])

    assert (histogram.min_us, histogram.max_us, histogram.total) == (0, MAX_US, 2)
