"""Every benchmarked part of the engine runs small in the ordinary suite and must answer right."""

import pytest

from benchmarks.core import Case
from benchmarks.harness import CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_benchmarked_part_answers_right_and_its_check_can_fail(case: Case) -> None:
    work, check = case.prepare(3)
    other_work, _ = case.prepare(2)

    check(work())
    with pytest.raises(AssertionError):
        check(other_work())
