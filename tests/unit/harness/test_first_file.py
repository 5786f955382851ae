"""A first target file names the fields that a server shows, and guesses none that speak of more."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.targets.answers import event_reader, read_scores
from harness.targets.first_file import Seen, first_file
from harness.targets.guesses import guessed
from harness.targets.target_file import describe

URL = "http://127.0.0.1:3000"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ([{"user": "Ann", "score": 5}], [("Ann", 5)]),
        ({"user": "Ann", "score": 5}, [("Ann", 5)]),
        ([{"rank": 1, "playerName": "Ann", "xp": 500}], [("Ann", 500)]),
        ([{"id": 7, "position": 1, "display_name": "Ann", "Points": "12.0"}], [("Ann", 12)]),
        (
            {"season": "autumn", "round": 3, "rows": [{"user": "Ann", "score": 5}]},
            [("Ann", 5)],
        ),
        (
            {"data": {"rows": [{"player": {"id": 3, "nick": "Ann"}, "total": 9}]}},
            [("Ann", 9)],
        ),
        ([{"team": {"name": "Reds"}, "player": {"name": "Ann"}, "score": 5}], [("Ann", 5)]),
        (
            {"type": "gain", "playerName": "Ann", "delta": 3, "oldScore": 7, "newScore": 10},
            [("Ann", 10)],
        ),
        ({"ts": 1764000000, "seq": 4, "member": "Ann", "value": 8.0}, [("Ann", 8)]),
        ([["Ann", 5], ["Bo", 4]], [("Ann", 5), ("Bo", 4)]),
        (["Ann", 5], [("Ann", 5)]),
        ({"Ann": 5, "Bo": 4}, [("Ann", 5), ("Bo", 4)]),
        ({"Ann": {"points": 5}, "Bo": {"points": 4}}, [("Ann", 5), ("Bo", 4)]),
        ({"top": {"Ann": 5, "Bo": 4}}, [("Ann", 5), ("Bo", 4)]),
        ([{"user.name": "Ann", "score/all": 5}], [("Ann", 5)]),
        ([{"userId": 7, "score": 5}], [("7", 5)]),
        ([{"user": {"id": "u-7", "displayName": "Ann"}, "score": 5}], [("Ann", 5)]),
    ],
    ids=json.dumps,
)
def test_users_and_scores_are_found_under_names_of_all_makes(
    value: Any, read: list[tuple[str, int]]
) -> None:
    rows = guessed(value)

    assert rows is not None
    assert rows.read(value) == read


@pytest.mark.parametrize(
    "value",
    [
        {"type": "ping", "ts": 1764000000},
        {"message": "welcome", "version": 3},
        [{"playerName": "Ann", "rank": 1}],
        {"userId": 7},
        {"limit": 10, "offset": 0},
        [],
        {},
        "Ann",
        None,
        5,
    ],
    ids=json.dumps,
)
def test_what_shows_no_score_is_not_taken_for_one(value: Any) -> None:
    assert guessed(value) is None


def test_file_reads_what_the_server_showed() -> None:
    board = b'{"data":{"rows":[{"rank":1,"player":{"nick":"Ann"},"total":90}]}}'
    stream = (
        b'\xef\xbb\xbf: hello\r\rid: 1\revent: presence\rdata: {"online":3,"name":"lobby"}\r\r'
        b'event: score-changed\rdata: {"player":{"nick":"Ann"},\rdata: "total":91}\r\r'
        b'event: points\ndata: {"player":{"nick":"Bo"},"total":7}\n\nevent: score-ch'
    )
    seen = Seen(200, board, 404, 200, stream, "/api/top", "/api/live")

    text = first_file(URL, seen)
    server = describe(text, Path(), {})

    assert server.scores.call.path == "/api/top"
    assert server.stream.call.path == "/api/live"
    assert read_scores(server.scores, board) == [("Ann", 90)]
    assert set(server.stream.events) == {"score-changed", "points"}
    read = event_reader(server.stream)
    assert read("points", b'{"player":{"nick":"Bo"},"total":7}') == [("Bo", 7)]


def test_board_and_streams_that_ask_for_a_token_get_one() -> None:
    text = first_file(URL, Seen(401, b"", 401, 403, b""))
    tables = tomllib.loads(text)

    assert tables["scores"]["auth"] is True
    assert tables["stream"]["auth"] is True
    assert tables["token"] == {"secret": "{env:SCOREBOARD_JWT_SECRET}"}


def test_file_of_a_server_that_shows_nothing_is_the_specification() -> None:
    server = describe(first_file(URL, Seen()), Path(), {})

    assert server.scores.call.path == "/scores"
    assert server.stream.events == ("update",)
