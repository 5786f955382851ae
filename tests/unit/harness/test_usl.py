"""The fit returns the law that made the points, and refuses to guess from few."""

import math
import random

import pytest

from harness.sessions.usl import Fit, TooFewPoints, bootstrap, fit

LAW = Fit(rate=100.0, contention=0.05, coherency=0.001)
LOADS = [1, 2, 4, 8, 16, 32, 64]


def test_fit_recovers_the_law_from_its_points() -> None:
    found = fit([(n, LAW.at(n)) for n in LOADS])

    assert found.rate == pytest.approx(100, rel=1e-6)
    assert found.contention == pytest.approx(0.05, rel=1e-6)
    assert found.coherency == pytest.approx(0.001, rel=1e-6)
    assert found.peak_load == pytest.approx(math.sqrt(0.95 / 0.001))


def test_bootstrap_bounds_contain_the_true_peak() -> None:
    draw = random.Random(5)
    points = [(n, LAW.at(n) * draw.uniform(0.97, 1.03)) for n in LOADS for _ in range(4)]

    bounds = bootstrap(points)

    assert bounds.peak[0] <= LAW.peak <= bounds.peak[1]
    assert bounds.peak[1] < 1.3 * bounds.peak[0]


def test_fit_has_no_negative_coefficient() -> None:
    draw = random.Random(6)
    for _ in range(50):
        found = fit([(n, 50 * n * draw.uniform(0.5, 1.5)) for n in LOADS])
        assert found.contention >= 0
        assert found.coherency >= 0


def test_fit_of_linear_points_has_no_peak() -> None:
    found = fit([(n, 10.0 * n) for n in LOADS])

    assert found.peak_load == math.inf or found.peak > 10_000


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(1, 10.0), (2, 19.0), (4, 30.0)],
        [(1, 10.0), (2, 19.0), (4, 30.0)] * 3,
        [(0, 1.0), (1, 0.0), (2, 1.0), (3, 1.0), (4, 1.0)],
    ],
)
def test_fit_refuses_too_few_points(points: list[tuple[float, float]]) -> None:
    with pytest.raises(TooFewPoints):
        fit(points)
