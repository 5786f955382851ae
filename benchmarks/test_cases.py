"""Times every case at full size with pytest-benchmark, and checks its answer."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import api, core, harness
from benchmarks.core import Case


@pytest.mark.parametrize("case", core.CASES + api.CASES + harness.CASES, ids=lambda case: case.name)
def test_case(case: Case, benchmark: BenchmarkFixture) -> None:
    work, check = case.prepare(case.size)

    result = benchmark(work)

    check(result)
