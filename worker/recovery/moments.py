"""Moments as a person names them: so long ago, or a date and time."""

import argparse
import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO = re.compile(r"(\d{1,9})([smhd])")


def moment(text: str, now: datetime | None = None) -> datetime:
    """`90m` is that long before `now`; else a time in ISO 8601, UTC without a zone.

    Raises argparse.ArgumentTypeError with the form that is right.
    """
    now = now or datetime.now(UTC)
    try:
        if match := _AGO.fullmatch(text):
            return now - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"must be a duration such as 90m or a time such as 2026-01-31T12:00Z, not {text!r}"
        ) from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if found > now:
        raise argparse.ArgumentTypeError(f"must lie in the past, not at {text}")
    return found
