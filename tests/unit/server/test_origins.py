"""Origins whose pages may use the API."""

import pytest

from scoreboard.errors import Problem
from server.auth.origins import Origins, origins
from server.stream.stream_gate import cookies

GAME = "https://game.example"


def test_a_client_that_is_no_browser_is_not_judged() -> None:
    Origins([]).check([], "scores.example")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://scores.example:3000", "scores.example:3000"),
        ("https://scores.example", "Scores.Example:443"),
        ("http://scores.example", "scores.example:80"),
        ("https://scores.example:443", "scores.example"),
        ("http://scores.example:80", "scores.example:80"),
    ],
)
def test_the_own_origin_needs_no_permission(origin: str, host: str) -> None:
    Origins([]).check([origin], host)


def test_the_browser_knows_its_own_origin_behind_a_proxy() -> None:
    Origins([]).check(["https://board.example"], "127.0.0.1:3000", same_origin=True)


def test_an_allowed_origin_is_named_in_the_answer() -> None:
    origins = Origins([GAME, "https://other.example"])
    for origin in (GAME, "https://other.example"):
        origins.check([origin], "scores.example")
        headers = dict(origins.fields([origin]))

        assert headers["access-control-allow-origin"] == origin
        assert headers["access-control-allow-credentials"] == "true"
        assert "scoreboard-seq" in headers["access-control-expose-headers"]
        assert headers["vary"] == "origin"
    # Caches must not hand this answer to the page of an allowed origin.
    assert origins.fields([]) == origins.fields(["https://evil.example"]) == (("vary", "origin"),)
    assert Origins([]).fields([GAME]) == ()


def test_wildcard_origin_is_allowed_without_credentials() -> None:
    origins = Origins(["*"])
    origins.check(["null"], "x")

    assert dict(origins.fields(["null"]))["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in dict(origins.fields([GAME]))


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
        ["https://scores.example:80"],
        ["HTTPS://GAME.EXAMPLE"],
        ["scores.example"],
        ["https://evil.example://scores.example"],
        [GAME, GAME],
        [f"{GAME}, https://evil.example"],
    ],
)
def test_every_other_origin_is_refused(fields: list[str]) -> None:
    with pytest.raises(Problem) as refusal:
        Origins([GAME]).check(fields, "scores.example")

    assert refusal.value.kind.code == "forbidden"


def test_no_origin_is_that_of_an_empty_host() -> None:
    for origin in ("null", "http://", "https://", "http://:80", ""):
        with pytest.raises(Problem):
            Origins([]).check([origin], "")


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
