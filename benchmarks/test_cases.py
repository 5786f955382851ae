"""Times every case at full size with pytest-benchmark, and checks its answer."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import api, core, harness

CASES = {case.name: case for case in core.CASES + api.CASES + harness.CASES}


# By name: what `--benchmark-json` says of the parameter must be the same in every run.
@pytest.mark.parametrize("case", CASES)
def test_case(case: str, benchmark: BenchmarkFixture) -> None:
    work, check = CASES[case].prepare(CASES[case].size)

    result = benchmark(work)

    check(result)
