"""Guesses where users and scores stand in the JSON of a server that nobody has described. Pure.

For a first target file, which a person completes: a wrong guess costs more than none, so a field
whose name speaks of something else (a rank, a time, a kind) is never taken.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from harness.targets.description import Rows
from harness.targets.fields import KEY, VALUE, Absent, user_and_score

USER_NAMES = ("user", "name", "nick", "nickname", "username", "player", "playername")
SCORE_NAMES = ("score", "points", "total", "value", "sum")
"""The likeliest first, in small letters without `_` and `-`."""
_OF_USERS = re.compile("user|player|name|nick|member|login|account|handle|team")
_OF_SCORES = re.compile("score|point|total|xp|rating|balance")
_NO_USER = re.compile("type|kind|event|season|status|time|date|game$|avatar|url|country|message")
_NO_SCORE = re.compile(
    "rank|position|place|delta|incr|gain|change|diff|^old|prev|last|seq|version|time|date|^ts$"
    "|level|count|limit|offset|page|id$|year|season|round"
)
_UNLIKE = 100
"""The rank of a field whose name says nothing."""
_ALIKE, _ID = 50, 80
"""The ranks of a field whose name holds a word of users or scores, and of one that is an id."""
_DEPTH = 3
_WRAPPED = 10
"""How much less likely the answer itself is a row than the rows of a list in it."""


class _Guess(NamedTuple):
    rank: int
    rows: Rows


def guessed(value: Any) -> Rows | None:
    """Where users and scores seem to stand in a JSON value, None when nowhere."""
    guesses = [guess for path, row in _samples(value, ()) if (guess := _of_row(path, row))]
    return min(guesses, key=lambda guess: guess.rank).rows if guesses else None


def _samples(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str | None, Any]]:
    """One row of every list in a value, with the list's path; None for the value as a row itself.

    An object of objects or of whole numbers may be a list too, by name.
    """
    shown = _shown(path) or "$"
    if isinstance(value, list):
        yield shown, value[0] if value else None
        # One row, of an event.
        if not path and value and not isinstance(value[0], list | dict):
            yield None, value
    elif isinstance(value, dict):
        if not path:
            yield None, value
        if by_name := _members(value):
            yield shown, by_name
        for name, inner in value.items():
            yield from _samples(inner, (*path, name))


def _members(value: Mapping[str, Any]) -> Any:
    """The first member of an object whose members are rows by the user's name, else None."""
    if len(value) < 2:
        return None
    name, first = next(iter(value.items()))
    if isinstance(first, dict):
        alike = all(
            isinstance(inner, dict) and inner.keys() == first.keys() for inner in value.values()
        )
        return {**first, KEY: name, VALUE: first} if alike else None
    fields = any(_OF_SCORES.search(_plain(f)) or _NO_SCORE.search(_plain(f)) for f in value)
    numbers = all(_is_score(inner) for inner in value.values())
    return {KEY: name, VALUE: first} if numbers and not fields else None


def _of_row(path: str | None, row: Any) -> _Guess | None:
    listed = "" if path is None else path
    if isinstance(row, list):
        fits = len(row) > 1 and isinstance(row[0], str) and _is_score(row[1])
        return _Guess(_UNLIKE, Rows(list=listed, user="[0]", score="[1]")) if fits else None
    if not isinstance(row, dict):
        return None
    leaves = [*_leaves(row, ())]
    users = [(rank, path) for path, leaf in leaves if (rank := _user_rank(path, leaf)) is not None]
    scores = [
        (rank, path) for path, leaf in leaves if (rank := _score_rank(path, leaf)) is not None
    ]
    pairs = [(u[0] + s[0], u[1], s[1]) for u in users for s in scores if u[1] != s[1]]
    if not pairs:
        return None
    rank, user, score = min(pairs, key=lambda pair: pair[0])
    wrapped = _WRAPPED if path is None else 0
    return _Guess(rank + wrapped, Rows(list=listed, user=_shown(user), score=_shown(score)))


def _leaves(row: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in row.items():
        if isinstance(inner, dict):
            # What stands beside the name of a row is told without it.
            if len(path) < _DEPTH and name != VALUE:
                yield from _leaves(inner, (*path, name))
        elif not isinstance(inner, list):
            yield (*path, name), inner


def _user_rank(path: tuple[str, ...], value: Any) -> int | None:
    name = _plain(path[-1])
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    if path[-1] == KEY:
        return 0
    if path[-1] == VALUE or (_NO_USER.search(name) and name not in USER_NAMES):
        return None
    # A name tells users apart for people as well; a number does so for programs alone.
    number = 0 if isinstance(value, str) else _UNLIKE
    if name in USER_NAMES:
        # `team.name` beside `player.name`.
        outside = 0 if len(path) < 2 or re.search("user|player", _plain(path[-2])) else 2
        return number + USER_NAMES.index(name) + outside
    if name.endswith("id") and (name == "id" or _OF_USERS.search(name)):
        return number + _ID
    if _OF_USERS.search(name):
        return number + _ALIKE
    return None if number else _UNLIKE


def _score_rank(path: tuple[str, ...], value: Any) -> int | None:
    name = _plain(path[-1])
    if not _is_score(value):
        return None
    if path[-1] == VALUE:
        return 0
    if name in SCORE_NAMES:
        return SCORE_NAMES.index(name)
    if _NO_SCORE.search(name) or (_OF_USERS.search(name) and not _OF_SCORES.search(name)):
        return None
    return _ALIKE if _OF_SCORES.search(name) else _UNLIKE


def _is_score(value: Any) -> bool:
    """Whether a run could read it as a score."""
    try:
        user_and_score(["", value], (0,), (1,))
    except Absent:
        return False
    return True


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _shown(path: tuple[str, ...]) -> str:
    """A path as `fields.parse_path` reads it: a JSON Pointer where a name has marks of its own."""
    if any(mark in name for name in path for mark in "./[]$~") or "" in path:
        return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)
    return ".".join(path)
