"""Moments on the command line: so long ago, or a date and time."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

import pytest

from worker.recovery.moments import moment

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("2h", NOW - timedelta(hours=2)),
        ("1d", NOW - timedelta(days=1)),
        ("2026-01-31T11:00Z", NOW - timedelta(hours=1)),
        ("2026-01-31T11:00", NOW - timedelta(hours=1)),
        ("2026-01-31 12:00+02:00", NOW - timedelta(hours=2)),
    ],
)
def test_both_forms_are_read(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "90", "soon", "-5m", "2026-02-01", "99999999999d", "999999999d"]
)
def test_anything_else_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="must"):
        moment(text, NOW)
