"""Times the API's own steps with pytest-benchmark; the cases are in `benchmarks.api`."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.api import CASES
from benchmarks.core import Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_api(case: Case, benchmark: BenchmarkFixture) -> None:
    work, check = case.prepare(case.size)

    result = benchmark(work)

    check(result)
