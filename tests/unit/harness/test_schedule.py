"""Arrivals follow their profile exactly, for any number of workers."""

import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measure.schedule import NS, BadProfile, arrivals, mix, parse_profile

PROFILES = ["1000x5", "100-900x10", "500x2,1000x2,250x2", "0-800x4,800-0x4"]


def dues(text: str, *, seed: int = 1, poisson: bool = False) -> list[float]:
    return [due / NS for _, due in arrivals(parse_profile(text), seed=seed, poisson=poisson)]


@pytest.mark.parametrize("text", PROFILES)
def test_constant_arrivals_number_the_integral_of_the_rate(text: str) -> None:
    profile = parse_profile(text)

    times = dues(text)

    assert len(times) == round(sum(segment.arrivals for segment in profile.segments))
    assert times == sorted(times)
    assert 0 < times[0] <= times[-1] <= profile.duration_s


@pytest.mark.parametrize("text", PROFILES)
def test_each_second_gets_its_share_of_arrivals(text: str) -> None:
    profile = parse_profile(text)
    times = dues(text)

    for second in range(int(profile.duration_s)):
        expected = (profile.rate_at(second) + profile.rate_at(second + 0.999999)) / 2
        assert abs(sum(1 for t in times if second <= t < second + 1) - expected) <= 1


def test_poisson_gaps_are_exponential() -> None:
    times = dues("1000x100", poisson=True)
    gaps = [b - a for a, b in itertools.pairwise(times)]

    # For an exponential the deviation equals the mean; 100,000 draws fix both to about 1 %.
    assert statistics.mean(gaps) == pytest.approx(0.001, rel=0.02)
    assert statistics.stdev(gaps) == pytest.approx(0.001, rel=0.02)
    assert len(times) == pytest.approx(100_000, rel=0.02)


@given(st.sampled_from(PROFILES), st.integers(1, 5), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_slices_of_any_number_of_workers_make_the_same_schedule(
    text: str, workers: int, poisson: bool, seed: int
) -> None:
    profile = parse_profile(text)
    whole = list(arrivals(profile, seed=seed, poisson=poisson))

    slices = [
        list(arrivals(profile, seed=seed, poisson=poisson, slice_index=i, slice_count=workers))
        for i in range(workers)
    ]

    assert sorted(itertools.chain(*slices)) == whole


def test_poisson_arrivals_depend_on_the_seed() -> None:
    assert dues("100x5", seed=1, poisson=True) != dues("100x5", seed=2, poisson=True)
    assert dues("100x5", seed=1, poisson=True) == dues("100x5", seed=1, poisson=True)


def test_profile_holds_its_last_rate_and_leaps_at_a_spike() -> None:
    profile = parse_profile("spike:100-500@2+1")
    first = [
        due / NS for _, due in itertools.islice(arrivals(profile, seed=1, poisson=False), 1000)
    ]

    counts = [sum(1 for t in first if s <= t < s + 1) for s in range(4)]

    assert counts == [100, 100, 500, 100]
    assert math.isinf(profile.duration_s)


def test_profile_keeps_its_slope_when_cut() -> None:
    cut = parse_profile("0-1000x10").cut(5)

    assert cut.duration_s == 5
    assert cut.segments[0].rate_end == 500


@pytest.mark.parametrize("text", ["", "fast", "100-200", "100,200x5", "5x2,0", "1000x", "-5"])
def test_unreadable_profile_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(BadProfile):
        parse_profile(text)


@pytest.mark.parametrize("text", ["0", "0x60"])
def test_a_rate_of_zero_submits_nothing(text: str) -> None:
    profile = parse_profile(text)

    assert not profile.submits
    assert dues(text) == []
    assert parse_profile("1").submits
    assert profile.cut(5).duration_s == 5


def test_mixed_bits_spread_users_evenly() -> None:
    counts = [0] * 100
    for number in range(100_000):
        counts[mix(7, number) % 100] += 1

    assert max(counts) < 1200
    assert min(counts) > 800
