"""Times the pure core with pytest-benchmark; the cases are in `benchmarks.core`."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.core import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_core(case: Case, benchmark: BenchmarkFixture) -> None:
    work, check = case.prepare(case.size)

    result = benchmark(work)

    check(result)
