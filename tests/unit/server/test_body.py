"""The body of a submission: accepted spellings and refused ones."""

import pytest

from scoreboard.domain import MAX_INCREMENT, MAX_USER_ID
from scoreboard.errors import Problem
from server.submit.body import Update, parse_update


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"userId":1,"increment":10}', Update(1, 10)),
        (b' { "increment" : -10 ,\n "userId" : 2 } ', Update(2, -10)),
        (b'{"\\u0075serId":1,"increment":10}', Update(1, 10)),
        (
            b'{"userId":%d,"increment":%d}' % (MAX_USER_ID, MAX_INCREMENT),
            Update(MAX_USER_ID, MAX_INCREMENT),
        ),
    ],
)
def test_any_spelling_of_the_two_members_is_read(body: bytes, expected: Update) -> None:
    assert parse_update("application/json", body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"userId":1}',
        b'{"increment":1}',
        b"{}",
        b'{"userId":1,"increment":1,"extra":1}',
        b'{"userId":1,"increment":1,"userId":2}',
        b'{"userId":1,"increment":1,"\\u0075serId":2}',
        b'{"userId":1,"increment":1.0}',
        b'{"userId":1,"increment":1e2}',
        b'{"userId":1,"increment":1e999}',
        b'{"userId":1,"increment":NaN}',
        b'{"userId":1,"increment":Infinity}',
        b'{"userId":1,"increment":"1"}',
        b'{"userId":"1","increment":1}',
        b'{"userId":true,"increment":1}',
        b'{"userId":null,"increment":1}',
        b'{"userId":1,"increment":[1]}',
        b'{"userId":1,"increment":{"a":1}}',
        b'{"userId":1,"increment":0}',
        b'{"userId":1,"increment":-0}',
        b'{"userId":0,"increment":1}',
        b'{"userId":-1,"increment":1}',
        b'{"userId":%d,"increment":1}' % (MAX_USER_ID + 1),
        b'{"userId":1,"increment":%d}' % (MAX_INCREMENT + 1),
        b'{"userId":1,"increment":%d}' % (-MAX_INCREMENT - 1),
        b'{"userId":1,"increment":18446744073709551617}',
        b'{"userId":1,"increment":' + b"9" * 5000 + b"}",
        b'{"userId":1,"increment":1,"\\ud800":1}',
        b'{"userId":"\\ud800","increment":1}',
        b"[" * 5000 + b"]" * 5000,
        b"[]",
        b"1",
        b'"text"',
        b"null",
    ],
)
def test_json_of_another_shape_is_invalid(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        parse_update("application/json", body)

    assert refused.value.kind.code == "invalid"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"userId":1,"increment":1',
        b'{"userId":1,"increment":1} {}',
        b'{"userId":01,"increment":1}',
        b"{'userId':1,'increment':1}",
        b'\xef\xbb\xbf{"userId":1,"increment":1}',
        b'{"userId":1,"increment":1,"\xff":1}',
        '{"userId":1,"increment":1}'.encode("utf-16"),
        b"userId=1&increment=1",
    ],
)
def test_body_that_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        parse_update("application/json", body)

    assert refused.value.kind.code == "malformed"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/json; charset=utf-8; x=y",
    ],
)
def test_another_media_type_is_refused_before_the_body_is_read(content_type: str) -> None:
    with pytest.raises(Problem) as refused:
        parse_update(content_type, b"not even JSON")

    assert refused.value.kind.status == 415


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON", "application/json; charset=UTF-8"]
)
def test_json_in_utf_8_is_taken(content_type: str) -> None:
    assert parse_update(content_type, b'{"userId":1,"increment":1}') == Update(1, 1)
