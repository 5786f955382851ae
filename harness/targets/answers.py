"""Reads answers and events by a description: outcomes, submission ids, users and scores. Pure."""

from collections.abc import Callable
from typing import Any

import msgspec

from harness.targets.description import (
    FAIL,
    OK,
    Ids,
    Scores,
    Stream,
    Submit,
    UsersAndScores,
    specified_scores,
)
from harness.targets.fields import Absent, parse_path, value_at
from harness.targets.namesakes import Labels

ReadAnswer = Callable[[int, bytes], tuple[str, bytes | None]]
"""Outcome (ok, fail, unknown) and submission id, of an answer's status and body."""
ReadEvent = Callable[[str, bytes], list[tuple[str, int]] | None]
"""Users and scores, of an event's name and data; None for an event that shows none. A ValueError
is a broken event."""
_decode = msgspec.json.Decoder().decode
SPECIFIED_SCORES = Scores(call=specified_scores())


class AnswerReader:
    """What answers to submissions mean. About 1 µs each; 2 µs where the JSON must be read."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._outcomes: dict[int, str] = {}
        self._when = [(parse_path(path), value) for path, value in submit.when]
        self._id = parse_path(submit.id) if submit.id else None

    def read(self, status: int, body: bytes) -> tuple[str, bytes | None]:
        """Outcome (ok, fail, unknown) and submission id, None where the answer has none."""
        outcome = self._outcomes.get(status)
        if outcome is None:
            outcome = self._outcomes[status] = self._submit.outcome(status)
        if outcome != OK or (self._id is None and not self._when):
            return outcome, None
        try:
            value = _decode(body)
        except msgspec.DecodeError:
            return (FAIL if self._when else outcome), None
        if not all(_stands(value, path, wanted) for path, wanted in self._when):
            return FAIL, None
        return outcome, self._id_in(value)

    def _id_in(self, value: Any) -> bytes | None:
        if self._id is None:
            return None
        try:
            return str(value_at(value, self._id)).encode()
        except Absent:
            return None


def _stands(value: Any, path: tuple[str | int, ...], wanted: Any) -> bool:
    try:
        found = value_at(value, path)
    except Absent:
        return False
    return type(found) is type(wanted) and bool(found == wanted)


def read_scores(scores: Scores, body: bytes, labels: Labels | None = None) -> UsersAndScores:
    """The rows of a board. Raises ValueError with what is not as described."""
    return read_board(scores, body, labels)[0]


def read_board(
    scores: Scores, body: bytes, labels: Labels | None = None
) -> tuple[UsersAndScores, Ids]:
    """The rows of a board, and the user ids in them. Raises as `read_scores`."""
    try:
        board = _decode(body)
        return scores.rows.read(board, labels), scores.rows.ids(board)
    except msgspec.DecodeError as error:
        raise ValueError(f"the answer is no JSON: {error}") from None
    except Absent as error:
        meant = "specified" if scores is SPECIFIED_SCORES else "described"
        raise ValueError(f"the answer is not as {meant}: {error}") from None


def event_reader(stream: Stream, labels: Labels | None = None) -> ReadEvent:
    """Reads events: users and scores, or None for an event whose name shows none."""
    names = frozenset(stream.events)
    rows = stream.rows

    def read(name: str, data: bytes) -> list[tuple[str, int]] | None:
        if (name or "message") not in names:
            return None
        return rows.read(_decode(data), labels)

    return read
