"""Reads the quantities people type: durations, rates, whole numbers. Finite and unsigned only.

`10`, `10s`, `500ms`, `1m30s`, `2h`; `1000`, `1k`, `2.5k/s`, `100/m`. Not `nan`, `inf` or `-1`.
"""

import re

NUMBER = r"\d+(?:\.\d+)?"
RATE = rf"{NUMBER}[kM]?(?:/[smh])?"
DURATION = rf"(?:{NUMBER}(?:ms|[smh]))+|{NUMBER}"
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(rf"({NUMBER})(ms|[smh])")
_RATE = re.compile(rf"({NUMBER})([kM]?)(?:/([smh]))?")
DAY_S = 86_400.0
SECONDS_MAX = 30 * DAY_S
RATE_MAX = 1e9


def parse_seconds(text: str, *, bare: str = "s") -> float:
    """A duration in seconds; a number alone counts in the unit `bare`. Raises ValueError."""
    text = text.strip()
    if not re.fullmatch(DURATION, text):
        raise ValueError(f"{text!r} is not a duration; try 10, 10s, 500ms or 1m30s")
    if text[-1].isdigit():
        text += bare
    seconds = sum(float(number) * SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds > SECONDS_MAX:
        raise ValueError(f"{text!r} is longer than 30 days")
    return seconds


def parse_rate(text: str) -> float:
    """A rate per second; a number alone is per second. Raises ValueError."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a rate; try 1000, 1k or 100/m")
    number, thousands, unit = match.groups()
    rate = float(number) * {"": 1, "k": 1e3, "M": 1e6}[thousands] / SECONDS[unit or "s"]
    if rate > RATE_MAX:
        raise ValueError(f"{text!r} is more than 1,000 M per second")
    return rate


def parse_whole(text: str) -> int:
    """A whole number, not negative; `10k` is 10,000. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,12})([kM]?)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a whole number")
    return int(match[1]) * {"": 1, "k": 1000, "M": 1_000_000}[match[2]]
