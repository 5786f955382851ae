"""What requests to /admin/reviews ask for, and what of it is refused."""

import json
import uuid
from typing import Any

import pytest

from scoreboard.errors import Problem
from server.backends.case_queries import CaseFilter
from server.review.cases import CASES_MAX, parse_cases_request
from server.review.decisions import MANY_MAX, parse_decisions
from server.submit.body import MAX_BODY_BYTES

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


def listed(count: int, decision: str = "reject") -> list[dict[str, str]]:
    return [
        {"submissionId": str(uuid.UUID(int=number)), "decision": decision}
        for number in range(count)
    ]


def test_as_many_decisions_as_are_taken_fit_into_a_body() -> None:
    body = json.dumps({"decisions": listed(MANY_MAX, "approve")}).encode()

    parsed = parse_decisions("application/json", body)

    assert len(body) <= MAX_BODY_BYTES
    assert [(key.hex(), each.decision) for key, each in parsed.items()] == [
        (f"{number:032x}", "approve") for number in range(MANY_MAX)
    ]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"decisions": []},
        {"decisions": listed(MANY_MAX + 1)},
        {"decisions": listed(1) * 2},
        {"decisions": [*listed(1), listed(1)[0] | {"decision": "approve"}]},
        {"decisions": listed(1, "maybe")},
        {"decisions": [{"submissionId": "x", "decision": "reject"}]},
        {"decisions": [{"submissionId": str(uuid.UUID(int=1))}]},
        {"decisions": [listed(1)[0] | {"more": 1}]},
        {"decisions": listed(1), "user": 1},
    ],
)
def test_other_bodies_of_decisions_are_invalid(body: Any) -> None:
    with pytest.raises(Problem) as refused:
        parse_decisions("application/json", json.dumps(body).encode())

    assert refused.value.kind.status == 422


def test_decisions_of_names_given_twice_and_other_types_are_refused() -> None:
    twice = b'{"decisions":[],' + json.dumps({"decisions": listed(1)}).encode()[1:]
    for content_type, body, status in (
        ("application/json", twice, 422),
        ("text/plain", json.dumps({"decisions": listed(1)}).encode(), 415),
    ):
        with pytest.raises(Problem) as refused:
            parse_decisions(content_type, body)
        assert refused.value.kind.status == status
