"""Query parameters and header fields of reads, checked. Each parser raises Problem (malformed)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scoreboard import contract
from scoreboard.errors import MALFORMED, Problem
from scoreboard.sse import parse_last_event_id
from server.board.board import OFFSET_MAX

MAX_SEQ_DIGITS = 16
NOT_OURS = -1
"""The place of a listener that brings an id of another server: before everything that is kept."""


class Window(NamedTuple):
    """The requested places of the board."""

    limit: int
    offset: int


def parse_window(
    arguments: Mapping[str, Sequence[str]],
    *,
    usual: int = contract.TOP_DEFAULT,
    most: int = contract.TOP_MAX,
) -> Window:
    """`limit` (1 to `most`, without it `usual`) and `offset` (0 to OFFSET_MAX)."""
    return Window(
        limit=parse_number(arguments, "limit", usual, least=1, most=most),
        offset=parse_number(arguments, "offset", 0, least=0, most=OFFSET_MAX),
    )


def parse_resume(header: Sequence[str], arguments: Mapping[str, Sequence[str]]) -> int | None:
    """The last event id of a returning listener; None for a new one.

    The header takes precedence over `lastEventId`: a reconnecting browser sends its
    newest id there, while the address keeps the id it started with. An empty id is none, as
    the HTML standard says. One that is not ours is NOT_OURS: a browser never comes back after a
    refusal, but it can go on from a reset.
    """
    values = header or _given(arguments, "lastEventId")
    if len(values) > 1:
        raise Problem(MALFORMED, "Last-Event-ID may be given once.")
    if not values or not values[0]:
        return None
    number = parse_last_event_id(values[0])
    return NOT_OURS if number is None else number


def parse_floor(header: Sequence[str]) -> int:
    """The seq that the client has seen elsewhere, in the field that answers carry; 0 without."""
    if not header:
        return 0
    [text, *more] = header
    if more or not text.isascii() or not text.isdigit() or len(text) > MAX_SEQ_DIGITS:
        raise Problem(MALFORMED, f"{contract.SEQ_HEADER} must be a number that an answer had.")
    return int(text)


def parse_flag(arguments: Mapping[str, Sequence[str]], name: str) -> bool:
    """A parameter that is 1 or 0; 0 when absent."""
    return parse_number(arguments, name, 0, least=0, most=1) == 1


def parse_number(
    arguments: Mapping[str, Sequence[str]], name: str, default: int, *, least: int, most: int
) -> int:
    """An integer parameter given at most once, in ASCII digits."""
    values = _given(arguments, name)
    if not values:
        return default
    [text, *more] = values
    if not more and text.isascii() and text.isdigit() and len(text) <= len(str(most)):
        number = int(text)
        if least <= number <= most:
            return number
    raise Problem(MALFORMED, f"{name} must be a whole number from {least} to {most}, given once.")


def parse_text(arguments: Mapping[str, Sequence[str]], name: str) -> str | None:
    """A parameter given at most once; None when absent."""
    values = _given(arguments, name)
    if len(values) > 1:
        raise Problem(MALFORMED, f"{name} must be given once.")
    return values[0] if values else None


def _given(arguments: Mapping[str, Sequence[str]], name: str) -> Sequence[str]:
    # Not `get`: on Sanic's mapping it returns only the first value.
    return arguments[name] if name in arguments else ()  # noqa: SIM401
