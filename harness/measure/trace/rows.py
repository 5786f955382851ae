"""Reads submissions from the lines of a trace: CSV, or an access log. Pure.

The first line that cannot be read raises BadTrace, with its number and the form it should have.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import chain
from typing import NamedTuple

from harness.measure.schedule import NS

Row = tuple[int, str, int]
"""Nanoseconds, the user as the trace calls it, the increment: 0 where the line names none."""
USER_CHARACTERS = 256
INCREMENT_MAX = 1_000_000
TIME, USER, SCORE = "at_s", "user", "score"
CSV_FORM = "a header such as at_s,user,score, then rows such as 0.25,alice,10"
LOG_FORM = '203.0.113.9 - alice [28/Nov/2026:10:00:00 +0000] "POST /scores/update HTTP/1.1" 200 52'
METHODS = ("POST ", "PUT ", "PATCH ")
"""Requests of a log that are submissions, where no pattern says which."""
NOBODY = ("-", '""')
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_LOG = re.compile(
    r"(?P<host>\S+) \S+ (?P<user>.+?) "
    r"\[(?P<day>\d{2})/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4})"
    r":(?P<h>\d{2}):(?P<m>\d{2}):(?P<s>\d{2}) (?P<zone>[+-]\d{4})\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" \d{3} (?:\d+|-)(?: .*)?'
)
_EXCERPT = 60
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS_MAX = 9_000_000_000
"""Until the year 2255: what is more are no seconds."""


class BadTrace(ValueError):
    """A trace that cannot be played; the message says where and what was expected."""


def expected(line: int, form: str, found: str) -> BadTrace:
    """The refusal of a line."""
    shown = found if len(found) <= _EXCERPT else found[:_EXCERPT] + "…"
    return BadTrace(f"line {line}: expected {form}, found {shown!r}")


class Rows(NamedTuple):
    """The submissions in the order of the lines, and whether their times are whole seconds."""

    rows: Iterator[Row]
    whole_seconds: bool


def rows_of(lines: Iterable[str], pattern: str = "") -> Rows:
    """The submissions of a trace in either form. A `pattern` is for an access log alone."""
    numbered = ((n, line.strip()) for n, line in enumerate(lines, start=1) if line.strip())
    number, first = next(numbered, (1, ""))
    header = [name.strip() for name in first.removeprefix("\ufeff").split(",")]
    if TIME in header:
        if pattern:
            raise BadTrace("--trace-pattern is for access logs, and this is CSV")
        return Rows(_csv_rows(number, header, numbered), whole_seconds=False)
    if _LOG.fullmatch(first):
        chosen = _compiled(pattern)
        return Rows(_log_rows(chain([(number, first)], numbered), chosen), whole_seconds=True)
    raise expected(number, f"{CSV_FORM}; or an access log of lines such as {LOG_FORM}", first)


# CSV


def _csv_rows(
    header_line: int, header: list[str], numbered: Iterator[tuple[int, str]]
) -> Iterator[Row]:
    if USER not in header:
        raise expected(header_line, f"a column {USER!r} in {CSV_FORM}", ",".join(header))
    time_at, user_at = header.index(TIME), header.index(USER)
    score_at = header.index(SCORE) if SCORE in header else -1
    absolute: bool | None = None
    for number, line in numbered:
        try:
            cells = next(csv.reader([line], strict=True), [])
        except csv.Error:
            cells = []
        if len(cells) != len(header):
            raise expected(number, f"{len(header)} fields, {','.join(header)}", line)
        found = _moment(cells[time_at].strip())
        if found is None or absolute not in (None, found[1]):
            form = f"{TIME} in seconds, such as 0.25, or everywhere as 2026-11-28T10:00:00.250Z"
            raise expected(number, form, cells[time_at])
        at_ns, absolute = found
        user = cells[user_at].strip()
        if not 0 < len(user) <= USER_CHARACTERS:
            raise expected(number, f"a {USER} of 1 to {USER_CHARACTERS} characters", user)
        text = cells[score_at].strip() if score_at >= 0 else ""
        yield at_ns, user, _amount(number, text) if text else 0


def _moment(text: str) -> tuple[int, bool] | None:
    """Nanoseconds, and whether they were written as a date; None for neither form."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - EPOCH) / timedelta(seconds=1)
        return (round(seconds * NS), True) if abs(seconds) <= SECONDS_MAX else None
    return (round(seconds * NS), False) if 0 <= seconds <= SECONDS_MAX else None


def _amount(number: int, text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,7}", text) or not 0 < abs(int(text)) <= INCREMENT_MAX:
        raise expected(number, f"a whole {SCORE} up to {INCREMENT_MAX:,}, not 0", text)
    return int(text)


# Access logs


def _log_rows(
    numbered: Iterable[tuple[int, str]], chosen: "re.Pattern[str] | None"
) -> Iterator[Row]:
    zones: dict[str, timezone] = {}
    for number, line in numbered:
        match = _LOG.fullmatch(line)
        if match is None:
            raise expected(number, f"a line such as {LOG_FORM}", line)
        who = match["user"] if match["user"] not in NOBODY else match["host"]
        increment = 0
        if chosen is None:
            if not match["request"].startswith(METHODS):
                continue
        else:
            found = chosen.search(line)
            if found is None:
                continue
            groups = found.groupdict()
            who = groups.get(USER) or who
            if text := groups.get(SCORE):
                increment = _amount(number, text)
        try:
            second = _second(match, zones)
        except ValueError:
            raise expected(number, f"a date as in {LOG_FORM}", line) from None
        yield second * NS, who[:USER_CHARACTERS], increment


def _compiled(pattern: str) -> "re.Pattern[str] | None":
    if not pattern:
        return None
    try:
        return re.compile(pattern)
    except re.error as error:
        raise BadTrace(f"--trace-pattern {pattern!r} is no regular expression: {error}") from None


def _second(match: "re.Match[str]", zones: dict[str, timezone]) -> int:
    text = match["zone"]
    if text not in zones:
        minutes = int(text[1:3]) * 60 + int(text[3:5])
        zones[text] = timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
    day, hour, minute, second = (int(match[name]) for name in ("day", "h", "m", "s"))
    month = MONTHS.index(match["month"]) + 1
    moment = datetime(int(match["year"]), month, day, hour, minute, second, tzinfo=zones[text])
    return int(moment.timestamp())
