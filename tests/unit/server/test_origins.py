"""Origins whose pages may open event streams."""

import pytest

from scoreboard.errors import Problem
from server.auth.origins import Origins, origins
from server.stream.stream_gate import cookies

GAME = "https://game.example"


def test_a_client_that_is_no_browser_is_not_judged() -> None:
    assert Origins([]).headers([], "scores.example") == ()


def test_the_own_origin_needs_no_permission() -> None:
    assert Origins([]).headers(["http://scores.example:3000"], "scores.example:3000") == ()


def test_an_allowed_origin_is_named_in_the_answer() -> None:
    for origin in (GAME, "https://other.example"):
        headers = dict(Origins([GAME, "https://other.example"]).headers([origin], "scores.example"))

        assert headers["access-control-allow-origin"] == origin
        assert headers["access-control-allow-credentials"] == "true"
        assert headers["vary"] == "origin"


def test_wildcard_origin_is_allowed_without_credentials() -> None:
    assert Origins(["*"]).headers(["null"], "x") == (("access-control-allow-origin", "*"),)


@pytest.mark.parametrize(
    "fields",
    [
        ["https://evil.example"],
        ["null"],
        [""],
        ["https://game.example.evil.example"],
        ["https://game.example/"],
        ["http://game.example"],
        ["https://game.example:444"],
        ["HTTPS://GAME.EXAMPLE"],
        ["scores.example"],
        ["https://evil.example://scores.example"],
        [GAME, GAME],
        [f"{GAME}, https://evil.example"],
    ],
)
def test_every_other_origin_is_refused(fields: list[str]) -> None:
    with pytest.raises(Problem) as refusal:
        Origins([GAME]).headers(fields, "scores.example")

    assert refusal.value.kind.code == "forbidden"


def test_the_setting_is_a_list_of_origins() -> None:
    assert origins(f"{GAME}, http://localhost:8080") == (GAME, "http://localhost:8080")
    for wrong in ("game.example", f"{GAME}/", f"{GAME},", "ftp://x", "https://", "https:///path"):
        with pytest.raises(ValueError, match="must be origins"):
            origins(wrong)


def test_a_cookie_is_found_among_others() -> None:
    fields = ["a=1; scoreboard_token=x.y.z", "b=2;scoreboard_token=u; scoreboard_tokens=v"]

    assert cookies(fields, "scoreboard_token") == ["x.y.z", "u"]
    assert cookies(["scoreboard_token", ""], "scoreboard_token") == [""]
    assert cookies(["a=scoreboard_token=1"], "scoreboard_token") == []
