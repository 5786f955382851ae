"""Every benchmarked function runs small in the ordinary suite and must answer right."""

import pytest

from benchmarks import api, core
from benchmarks.core import Case

CASES = core.CASES + api.CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_benchmarked_function_answers_right(case: Case) -> None:
    work, check = case.prepare(3)

    check(work())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_benchmark_check_refuses_results_of_another_size(case: Case) -> None:
    other_work, _ = case.prepare(2)
    _, check = case.prepare(3)

    with pytest.raises(AssertionError):
        check(other_work())
