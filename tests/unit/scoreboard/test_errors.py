"""Kinds of refusal: their codes are promises to programs, so they are pinned here."""

from scoreboard import errors
from scoreboard.errors import Problem, ProblemKind

CONTRACT = {
    ("malformed", 400),
    ("unauthorized", 401),
    ("forbidden", 403),
    ("not_found", 404),
    ("method_not_allowed", 405),
    ("request_timeout", 408),
    ("already_decided", 409),
    ("player_exists", 409),
    ("too_large", 413),
    ("uri_too_long", 414),
    ("unsupported_media_type", 415),
    ("invalid", 422),
    ("idempotency_key_reused", 422),
    ("unknown_user", 404),
    ("rate_limited", 429),
    ("too_many_streams", 429),
    ("header_too_large", 431),
    ("internal", 500),
    ("unavailable", 503),
    ("overloaded", 503),
}


def test_codes_and_statuses_match_the_contract() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, ProblemKind)]

    assert {(kind.code, kind.status) for kind in kinds} == CONTRACT
    assert len(kinds) == len(CONTRACT)
    assert all(kind.title for kind in kinds)


def test_problem_carries_the_fields_of_the_response() -> None:
    problem = Problem(errors.RATE_LIMITED, "at most 100 in 10 s", retry_after_s=3)

    assert (problem.kind.status, problem.detail, problem.retry_after_s) == (
        429,
        "at most 100 in 10 s",
        3,
    )
    assert str(problem) == "rate_limited: at most 100 in 10 s"
