"""Each planted trouble gives the verdict and the exit code that it must, as RESULTS.md lists them.

All are played side by side, since they wait more than they compute.
"""

import pytest

from harness.report.document import TroubleCase, TroubleResult
from harness.trouble.proof import ALL, prove_trouble
from tests.support.programs import need

ELSEWHERE = {
    "locust: a worker is killed": "test_locust.py",
    "locust: a worker comes late": "test_locust.py",
    "bench-compare: a case that head lost": "test_bench_compare.py",
}
"""Troubles that another test plants and looks at more closely."""
SIDE_BY_SIDE = 4
"""Beside what the other processes of the tests run."""
SECONDS_MAX = 60


@pytest.fixture(scope="module")
def result() -> TroubleResult:
    troubles = [trouble for trouble in ALL if trouble.planted not in ELSEWHERE]
    return prove_trouble(troubles, side_by_side=SIDE_BY_SIDE)


@pytest.fixture(scope="module")
def rows(result: TroubleResult) -> dict[str, TroubleCase]:
    return {row.planted: row for row in result.troubles}


@pytest.mark.parametrize(
    "planted", [trouble.planted for trouble in ALL if trouble.planted not in ELSEWHERE]
)
def test_trouble_ends_with_its_verdict(
    result: TroubleResult, rows: dict[str, TroubleCase], planted: str
) -> None:
    need(planted in rows, "; ".join(result.not_planted))
    row = rows[planted]

    assert row.held, f"must end with {row.must_exit} {row.must_say}, was {row.exit} {row.said}"
    assert row.seconds < SECONDS_MAX


def test_names_of_troubles_are_unique() -> None:
    names = [trouble.planted for trouble in ALL]

    assert len(set(names)) == len(names)
    assert set(ELSEWHERE) < set(names)
