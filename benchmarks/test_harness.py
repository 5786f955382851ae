"""Times the engine's pure parts with pytest-benchmark; the cases are in `benchmarks.harness`."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.core import Case
from benchmarks.harness import CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_harness(case: Case, benchmark: BenchmarkFixture) -> None:
    work, check = case.prepare(case.size)

    result = benchmark(work)

    check(result)
