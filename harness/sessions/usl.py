"""The Universal Scalability Law (Gunther) fitted to measured throughput, with bounds. Pure.

X(n) = λ n / (1 + σ (n − 1) + κ n (n − 1)): λ is the rate of one unit of load, σ
contention, κ the cost of agreement between units. Throughput peaks at
n = √((1 − σ) / κ). Refuses what would only be drawn, not measured.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

POINTS_MIN = 6
LOADS_MIN = 4
BOOTSTRAPS = 400


class TooFewPoints(ValueError):
    """The law has three unknowns; the message says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Coefficients, and the peak: load and throughput there, infinite when κ is 0."""

    rate: float
    contention: float
    coherency: float

    def at(self, load: float) -> float:
        """Throughput at a load."""
        divisor = 1 + self.contention * (load - 1) + self.coherency * load * (load - 1)
        return self.rate * load / divisor

    @property
    def peak_load(self) -> float:
        """The load of the greatest throughput."""
        if self.coherency <= 0:
            return math.inf
        return math.sqrt(max(0.0, 1 - self.contention) / self.coherency)

    @property
    def peak(self) -> float:
        """The greatest throughput; the asymptote when it only approaches one."""
        if math.isinf(self.peak_load):
            return self.rate / self.contention if self.contention > 0 else math.inf
        return self.at(max(1.0, self.peak_load))


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The fit of all points, and the 5th and 95th percentile of refitted resamples."""

    fit: Fit
    peak: tuple[float, float]
    peak_load: tuple[float, float]
    contention: tuple[float, float]
    coherency: tuple[float, float]


def fit(points: Sequence[tuple[float, float]]) -> Fit:
    """Least squares over pairs (load, throughput). Raises TooFewPoints."""
    usable = [(load, rate) for load, rate in points if load > 0 and rate > 0]
    loads = {load for load, _ in usable}
    if len(usable) < POINTS_MIN or len(loads) < LOADS_MIN:
        raise TooFewPoints(
            f"{len(usable)} points at {len(loads)} loads; a fit needs {POINTS_MIN} at {LOADS_MIN}"
        )
    # n/X is linear in the unknowns: (1 + σ(n−1) + κ n(n−1)) / λ.
    load = np.array([n for n, _ in usable])
    rate = np.array([x for _, x in usable])
    design = np.stack([np.ones_like(load), load - 1, load * (load - 1)], axis=1)
    target = load / rate
    # Errors of X are alike in relative size, so each row is weighed by X/n.
    weight = (rate / load)[:, None]
    return _constrained(design * weight, target * weight[:, 0])


def _constrained(
    design: "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
    target: "np.ndarray[tuple[int], np.dtype[np.float64]]",
) -> Fit:
    """Least squares with no negative coefficient: drop columns until none is."""
    best: tuple[float, Fit] | None = None
    for columns in ((0, 1, 2), (0, 1), (0, 2), (0,)):
        solution, *_ = np.linalg.lstsq(design[:, columns], target, rcond=None)
        if min(solution) < 0:
            continue
        full = np.zeros(3)
        full[list(columns)] = solution
        error = float(((design @ full - target) ** 2).sum())
        if full[0] > 0 and (best is None or error < best[0] - 1e-12):
            rate = 1 / full[0]
            best = (
                error,
                Fit(
                    rate=float(rate),
                    contention=float(full[1] * rate),
                    coherency=float(full[2] * rate),
                ),
            )
    assert best is not None, "the single column of ones always fits positive data"
    return best[1]


def bootstrap(points: Sequence[tuple[float, float]], *, seed: int = 1) -> Bounds:
    """The fit with bounds from resampled points. Raises TooFewPoints."""
    whole = fit(points)
    draw = random.Random(seed)
    fits: list[Fit] = []
    for _ in range(BOOTSTRAPS):
        try:
            fits.append(fit([draw.choice(points) for _ in points]))
        except TooFewPoints:
            # Too many repeats in this resample.
            continue
    if len(fits) < BOOTSTRAPS // 4:
        raise TooFewPoints("the points lie at too few loads to say how sure the fit is")

    def bounds(values: list[float]) -> tuple[float, float]:
        ordered = sorted(values)
        return ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]

    return Bounds(
        fit=whole,
        peak=bounds([f.peak for f in fits]),
        peak_load=bounds([f.peak_load for f in fits]),
        contention=bounds([f.contention for f in fits]),
        coherency=bounds([f.coherency for f in fits]),
    )
