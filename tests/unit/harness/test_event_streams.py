"""Every lawful spelling of an event stream gives the same events, however it is cut and framed."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.capabilities import ID_BYTES_MAX
from harness.net.sse_parser import Item, Kind, Reading, Span
from harness.net.stream_framing import OWN_GZIP, UNCHUNKED, Framer

UPDATE = b'event: update\ndata: {"user":"Alice","score":1510}\n\n'
EVENTS = b"".join(
    b'event: update\ndata: {"user":"U%d","score":%d}\n\n' % (n, 10 * n) for n in range(1, 4)
)
SHOWN = [("U1", 10), ("U2", 20), ("U3", 30)]


def shown(payloads: list[bytes]) -> list[tuple[str, int]]:
    return [
        (item.user, item.score)
        for payload in payloads
        for item in Span(payload, 0).items
        if item.kind is Kind.UPDATE
    ]


def mixed_ends(text: bytes) -> bytes:
    """The text with LF, CR and CRLF in turn: an LF right after a CR would be the same line end."""
    lines = text.split(b"\n")[:-1]
    return b"".join(line + (b"\n", b"\r", b"\r\n")[n % 3] for n, line in enumerate(lines))


SPELLINGS = {
    "lf": EVENTS,
    "crlf": EVENTS.replace(b"\n", b"\r\n"),
    "cr": EVENTS.replace(b"\n", b"\r"),
    "mixed ends": mixed_ends(EVENTS),
    "byte order mark": b"\xef\xbb\xbf" + EVENTS,
    "no space after the colon": EVENTS.replace(b": ", b":", 6),
    "comments and unknown fields": b": hello\nfoo\nbar: 1\n\n"
    + EVENTS.replace(b"event", b":\nevent"),
    "unknown event types": b"event: ping\ndata\n\ndata: x\n\n" + EVENTS,
    "data in several lines": EVENTS.replace(b'","', b'",\ndata: "'),
    "data before event": b"".join(
        b"\n".join(reversed(block.split(b"\n"))) + b"\n\n" for block in EVENTS.split(b"\n\n")[:-1]
    ),
    "an event field twice": EVENTS.replace(b"event: ", b"event: other\nevent: "),
    "blank lines between": b"\n\n" + EVENTS.replace(b"\n\n", b"\n\n\n\n"),
    "unfinished last block": EVENTS + b'event: update\ndata: {"user":"U4","score":40}\n',
    "retry inside an event": EVENTS.replace(b"event", b"retry: 100\nevent"),
    "ids of any text": EVENTS.replace(b"event", b"id: 1700000000000-0\nevent"),
    "an id of five thousand digits": EVENTS.replace(b"event", b"id: " + b"9" * 5000 + b"\nevent"),
}


@pytest.mark.parametrize("name", SPELLINGS)
@settings(max_examples=20)
@given(data=st.data())
def test_every_spelling_gives_the_same_events_for_every_cut(name: str, data: st.DataObject) -> None:
    raw = SPELLINGS[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    framer = Framer(UNCHUNKED, begins=True)

    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    payloads = [payload for piece in pieces for payload in framer.feed(piece)]

    assert shown(payloads) == SHOWN


@pytest.mark.parametrize(
    "data",
    [
        b'{"user":"Alice","score":1510}',
        b'{ "score" : 1510 , "user" : "Alice" }',
        b'{"user":"Alice","score":1510.0,"rank":{"now":1},"tags":[1,2]}',
        b'{"user":"\\u0041lice","score":1.51e3}',
    ],
)
def test_every_spelling_of_the_data_is_read(data: bytes) -> None:
    [item] = Span(b"event: update\ndata: " + data + b"\n\n", 0).items

    assert (item.kind, item.user, item.score) == (Kind.UPDATE, "Alice", 1510)


def test_names_are_utf8() -> None:
    assert shown(['event: update\ndata: {"user":"Ålice 🏆","score":1}\n\n'.encode()]) == [
        ("Ålice 🏆", 1)
    ]


@pytest.mark.parametrize(
    ("text", "number", "last"),
    [
        (b"17", 17, b"17"),
        (b"0", 0, b"0"),
        (b"007", -1, b"007"),
        (b"-5", -1, b"-5"),
        (b"100000000000000000", 10**17, b"100000000000000000"),
        (b"9" * 19, -1, b"9" * 19),
        (b"9" * ID_BYTES_MAX, -1, b"9" * ID_BYTES_MAX),
        (b"9" * (ID_BYTES_MAX + 1), -1, None),
        (b"1700000000000-0", -1, b"1700000000000-0"),
        (b"c0ffee00-0000-4000-8000-000000000000", -1, b"c0ffee00-0000-4000-8000-000000000000"),
        (b"", -1, b""),
        (b"a\0b", -1, None),
        (" é".encode(), -1, "é".encode()),
    ],
)
def test_id_is_text_and_a_number_only_where_it_says_itself_again(
    text: bytes, number: int, last: bytes | None
) -> None:
    field = b"id:" + text if text.startswith(b" ") else b"id: " + text
    span = Span(field + b"\n" + UPDATE, 0)

    assert [item.id for item in span.items] == [number]
    assert span.last_event_id == last


def test_last_event_id_is_that_of_the_last_block_that_set_one() -> None:
    assert Span(b"id: a\n" + UPDATE + b"id: b\n\n" + UPDATE, 0).last_event_id == b"b"
    assert Span(b"id: a\n" + UPDATE + b"id\n" + UPDATE, 0).last_event_id == b""
    assert Span(UPDATE, 0).last_event_id is None


def test_unknown_and_default_types_are_no_updates() -> None:
    blocks = b'data: {"user":"A","score":1}\n\nevent: message\ndata: x\n\nevent: ping\ndata: y\n\n'

    assert [item.kind for item in Span(blocks, 0).items] == [Kind.OTHER] * 3


def test_reader_of_a_target_names_the_events_and_shows_their_users() -> None:
    def read(event: str, data: bytes) -> list[tuple[str, int]] | None:
        if event == "message":
            return [("A", int(data)), ("B", 2)]
        if event == "bad":
            raise ValueError
        return None

    items = Span(b"id: x\ndata: 1\n\nevent: bad\ndata: 1\n\n" + UPDATE, 0, Reading(read)).items

    assert items == [
        Item(Kind.UPDATE, -1, "A", 1, raw=b"x"),
        Item(Kind.UPDATE, -1, "B", 2, raw=b"x"),
        Item(Kind.BROKEN, -1, "1"),
        Item(Kind.OTHER),
    ]


@settings(max_examples=30)
@given(st.integers(1, 60), st.booleans())
def test_ordinary_gzip_is_read_with_a_decompressor_of_its_own(size: int, chunked: bool) -> None:
    deflate = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    parts = [deflate.compress(EVENTS) + deflate.flush(zlib.Z_SYNC_FLUSH) for _ in range(3)]
    raw = b"".join(b"%x\r\n%b\r\n" % (len(p), p) if chunked else p for p in parts)
    framer = Framer(OWN_GZIP | (0 if chunked else UNCHUNKED), begins=True)

    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]

    assert shown([p for piece in pieces for p in framer.feed(piece)]) == SHOWN * 3
    assert not framer.empty


def test_gzip_of_several_members_is_one_text_and_a_bomb_is_refused() -> None:
    framer = Framer(OWN_GZIP | UNCHUNKED, begins=True)

    assert shown(list(framer.feed(gzip.compress(EVENTS) * 2))) == SHOWN * 2
    with pytest.raises(ValueError, match="4 MiB"):
        list(framer.feed(gzip.compress(b"x" * (Framer.MAX_KEPT + 1))))
    with pytest.raises(ValueError, match="not gzip"):
        list(Framer(OWN_GZIP | UNCHUNKED).feed(b"no gzip at all"))


def test_body_of_a_told_length_ends_there() -> None:
    framer = Framer(UNCHUNKED, begins=True, length=len(EVENTS))

    assert shown(list(framer.feed(EVENTS + b"HTTP/1.1 200 OK"))) == SHOWN
    assert framer.ended


def test_block_without_end_is_bounded() -> None:
    framer = Framer(UNCHUNKED)
    piece = b"data: " + b"x" * 65536 + b"\n"
    for _ in range(Framer.MAX_KEPT // len(piece)):
        assert list(framer.feed(piece)) == []

    with pytest.raises(ValueError, match="no end of a block"):
        list(framer.feed(piece))


IDS = {
    "a jump to 10^17": [b"1", b"2", b"100000000000000000"],
    "milliseconds": [b"%d" % (1_700_000_000_000 + 7 * n) for n in range(50)],
    "snowflakes": [b"%d" % ((1 << 57) + 4099 * n) for n in range(50)],
    "negative": [b"-%d" % n for n in range(50)],
    "five thousand digits": [b"9" * 5000],
    "redis": [b"1700000000000-%d" % n for n in range(50)],
}


@pytest.mark.parametrize("form", IDS)
def test_reading_a_span_allocates_by_its_bytes_not_by_its_ids(form: str) -> None:
    payload = b"".join(b"id: " + text + b"\n" + UPDATE for text in IDS[form])
    Span(payload, 0)

    tracemalloc.start()
    Span(payload, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 20_000 + 20 * len(payload)
