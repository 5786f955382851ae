"""Parameters of reads."""

import pytest

from scoreboard.errors import Problem
from server.board.query import NOT_OURS, parse_flag, parse_resume, parse_window


def test_absent_parameters_mean_the_top_ten_and_a_new_listener() -> None:
    assert parse_window({}) == (10, 0)
    assert parse_resume([], {}) is None
    assert not parse_flag({}, "snapshot")


def test_given_parameters_are_read() -> None:
    assert parse_window({"limit": ["100"], "offset": ["1000000"]}) == (100, 1_000_000)
    assert parse_resume([], {"lastEventId": ["5"]}) == 5
    assert parse_flag({"snapshot": ["1"]}, "snapshot")


def test_the_newer_id_of_the_header_wins() -> None:
    assert parse_resume(["7"], {"lastEventId": ["5"]}) == 7


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": ["0"]},
        {"limit": ["101"]},
        {"limit": ["-1"]},
        {"limit": ["1.0"]},
        {"limit": ["٣"]},
        {"limit": [""]},
        {"limit": ["1", "2"]},
        {"limit": ["9" * 5000]},
        {"offset": ["-1"]},
        {"offset": ["1000001"]},
    ],
)
def test_other_windows_are_malformed(arguments: dict[str, list[str]]) -> None:
    with pytest.raises(Problem) as refused:
        parse_window(arguments)

    assert refused.value.kind.status == 400


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("", None),
        *((text, NOT_OURS) for text in ("-1", "abc", "9" * 30, "1 ", "1\n", "٣", "1-0", "1.5")),
    ],
)
def test_an_empty_event_id_is_none_and_a_foreign_one_is_before_all(
    value: str, place: int | None
) -> None:
    assert parse_resume([value], {}) == place
    assert parse_resume([], {"lastEventId": [value]}) == place


def test_two_event_ids_are_malformed() -> None:
    for header, arguments in ((["1", "2"], {}), ([], {"lastEventId": ["1", "2"]})):
        with pytest.raises(Problem) as refused:
            parse_resume(header, arguments)
        assert refused.value.kind.status == 400
