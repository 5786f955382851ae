"""Batches are read strictly: a name given twice is refused, however it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreboard.strict_json import strict_json
from server.submit.submission_parser import parse_batch

ITEM = b'{"userId":1,"increment":2}'


@pytest.mark.parametrize(
    "body",
    [
        b"[%b]" % ITEM,
        b'[%b,{"increment":2,"userId":1,"key":"a:b::c"}]' % ITEM,
        b'[{"userId":1,"increment":2,"key":null}]',
        b'[{"userId":1,"increment":2,"key":"a\\u003ab\\\\"}]',
        b'[{"user\\u0049d":1,"increment":2}]',
    ],
)
def test_good_batches_pass(body: bytes) -> None:
    assert len(parse_batch(body)) == body.count(b"{")


@pytest.mark.parametrize(
    "item",
    [
        b'{"userId":2,"userId":1,"increment":2}',
        b'{"userId":1,"increment":2,"increment":2}',
        b'{"userId":2,"user\\u0049d":1,"increment":2}',
        b'{"userId":1,"increment":2,"key":"a","key":"b"}',
        b'{"userId":1,"increment":2,"key":null,"key":"a:"}',
        b'{"userId":1,"userId":1,"increment":2,"key":"\\u003a\\u003a"}',
        b'{"userId":1,"increment":2,"\\ud800":1}',
        b'{"userId":1,"increment":2.0}',
        b'{"userId":1,"increment":2,"x":1}',
    ],
)
def test_a_name_given_twice_or_anything_else_is_refused(item: bytes) -> None:
    for body in (b"[%b]" % item, b"[%b,%b]" % (ITEM, item)):
        with pytest.raises(ValueError):  # noqa: PT011
            parse_batch(body)


@given(st.text(st.characters(codec="utf-8"), max_size=6), st.booleans())
def test_any_key_is_read_as_the_strict_reader_reads_it(key: str, escaped: bool) -> None:
    text = (
        "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in key)
        if escaped
        else key.replace("\\", "\\\\").replace('"', '\\"')
    )
    body = f'[{{"userId":1,"increment":2,"key":"{text}"}}]'.encode()
    try:
        expected = strict_json(body)[0]["key"]
    except ValueError:
        return
    assert parse_batch(body)[0].key == expected
