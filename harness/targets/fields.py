"""Where values stand in JSON: `data.rows`, `[0]`, `/a.b/c`. Pure.

A path is names with dots and indexes in brackets, or a JSON Pointer (RFC 6901) where it starts with
a slash; `$.` at its start is allowed. The empty path is the whole value. Of a list that is an
object, `@key` and `@value` are what stands left and right in each member.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

Path = tuple[str | int, ...]
KEY, VALUE = "@key", "@value"
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,6})\]")
_WHOLE = re.compile(r"[+-]?\d{1,30}(\.0*)?", re.ASCII)
"""A whole number as text: databases give sums as decimals, and drivers those as text."""


class BadPath(ValueError):
    """The text is no path."""


class Absent(ValueError):
    """The value does not have what the path names."""


@lru_cache(256)
def parse_path(text: str) -> Path:
    """The steps of a path: names, and indexes as integers. Raises BadPath."""
    if text.startswith("/"):
        steps = text[1:].split("/")
        return tuple(step.replace("~1", "/").replace("~0", "~") for step in steps)
    text = text.removeprefix("$").removeprefix(".") if text.startswith("$") else text
    found: list[str | int] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise BadPath(f"{text!r} is no path; the form is data.rows[0].name or /data/rows/0")
        found.append(int(match[2]) if match[1] is None else match[1])
        position = match.end()
    return tuple(found)


def value_at(value: Any, path: Path) -> Any:
    """What stands at a path. Raises Absent."""
    for step in path:
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, TypeError, ValueError):
            raise Absent(f"no {step!r}") from None
    return value


def rows_at(value: Any, path: Path, *, members: bool = False) -> Iterator[Any]:
    """The rows of the list at a path; with `members` those of an object, as `@key`, `@value` …

    Null is a list without rows, as some encoders write it. Raises Absent where there is no list.
    """
    found = value_at(value, path)
    if members and isinstance(found, Mapping):
        for key, inner in found.items():
            row = dict(inner) if isinstance(inner, Mapping) else {}
            yield {**row, KEY: key, VALUE: inner}
    elif isinstance(found, list):
        yield from found
    elif found is not None:
        raise Absent("no list")


def user_and_score(row: Any, user: Path, score: Path) -> tuple[str, int]:
    """The two fields of one row. Raises Absent, also for a score that is no whole number."""
    name, points = value_at(row, user), value_at(row, score)
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise Absent("the user is neither text nor a whole number")
    return str(name), _whole(name, points)


def _whole(name: str | int, points: Any) -> int:
    if isinstance(points, int) and not isinstance(points, bool):
        return points
    if isinstance(points, float) and points.is_integer():
        return int(points)
    if isinstance(points, str) and _WHOLE.fullmatch(points):
        return int(points.partition(".")[0])
    raise Absent(f"the score of {name} is no whole number: {points!r}")
