"""Parameters of GET /admin/reviews."""

import uuid

import pytest

from scoreboard.errors import Problem
from server.backends.case_queries import CaseFilter
from server.board.reviews import CASES_MAX, parse_cases_request

CASE = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def test_absent_parameters_mean_the_first_page_of_open_cases() -> None:
    request = parse_cases_request({})

    assert request.wanted == CaseFilter()
    assert (request.limit, request.after) == (CASES_MAX, None)


def test_given_filters_are_read() -> None:
    request = parse_cases_request(
        {
            "all": ["1"],
            "user": ["7"],
            "rule": ["unlike_history"],
            "openedBeforeUs": ["1700000000000000"],
            "limit": ["5"],
            "after": [str(CASE)],
        }
    )

    assert request.wanted == CaseFilter(
        open_only=False,
        user_id=7,
        rule="unlike_history",
        opened_before_us=1_700_000_000_000_000,
    )
    assert (request.limit, request.after) == (5, CASE.bytes)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("limit", ["0"]),
        ("limit", ["201"]),
        ("user", ["0"]),
        ("user", [""]),
        ("user", ["1", "2"]),
        ("rule", ["none"]),
        ("rule", [""]),
        ("rule", ["unlike_history", "unlike_history"]),
        ("openedBeforeUs", ["-1"]),
        ("after", ["x"]),
        ("after", [str(CASE), str(CASE)]),
    ],
)
def test_other_parameters_are_malformed(name: str, values: list[str]) -> None:
    with pytest.raises(Problem) as refused:
        parse_cases_request({name: values})

    assert refused.value.kind.status == 400
    assert name in refused.value.detail
