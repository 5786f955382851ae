"""Domain values: what is stored for good keeps its spelling, and nothing changes in place."""

import re

import pytest

from scoreboard import domain
from tests.unit.scoreboard.arrange import change, submission, user


def test_stored_outcomes_keep_their_spelling() -> None:
    stored = {"applied", "unknown_user", "increment_out_of_range", "score_out_of_range"}

    assert stored <= {outcome.value for outcome in domain.Outcome}


@pytest.mark.parametrize("outcome", domain.Outcome)
def test_outcomes_fit_their_column_and_need_no_quoting(outcome: domain.Outcome) -> None:
    assert re.fullmatch(r"[a-z_]{1,32}", outcome.value)


@pytest.mark.parametrize("value", [submission(), user(), change()])
def test_values_are_frozen(value: object) -> None:
    with pytest.raises(AttributeError):
        value.seq = 9  # type: ignore[attr-defined]


def test_totals_and_user_ids_are_exact_as_doubles() -> None:
    """Redis scores and many JSON readers are doubles."""
    for largest in (domain.MAX_SCORE, domain.MAX_USER_ID):
        assert int(float(largest)) == largest
        assert float(largest) != float(largest - 1)
