"""SSE both ways: our bytes decode to what was meant, wherever the network cuts them."""

import json
import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoreboard import sse
from scoreboard.domain import Change, Standing
from scoreboard.sse import Decoder, Event
from tests.unit.scoreboard.arrange import change


def decode(*chunks: bytes, decoder: Decoder | None = None) -> list[Event]:
    decoder = decoder or Decoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def data_of(*chunks: bytes) -> list[str]:
    return [event.data for event in decode(*chunks)]


# Encoding


def test_an_update_is_the_bytes_of_the_contract() -> None:
    encoded = sse.encode_updates([change(5001, score=1510, committed_us=1764000000123456)])

    assert encoded == (
        b": committed 1764000000123456\n"
        b"id: 5001\n"
        b"event: update\n"
        b'data: {"user":"Alice","score":1510,"userId":1}\n'
        b"\n"
    )


def test_the_commit_time_is_sent_only_where_it_changes() -> None:
    times = [7, 7, 8, 7]
    encoded = sse.encode_updates([change(n, committed_us=t) for n, t in enumerate(times, 1)])

    assert [event.comments for event in decode(encoded)] == [
        ("committed 7",),
        (),
        ("committed 8",),
        ("committed 7",),
    ]


def test_no_changes_are_no_bytes() -> None:
    assert sse.encode_updates([]) == b""


def test_hello_dispatches_nothing_but_sets_id_and_retry() -> None:
    decoder = Decoder()

    assert decode(sse.encode_hello(5000), decoder=decoder) == []
    assert decoder.last_event_id == "5000"
    assert decoder.retry_ms == sse.RETRY_MS


@pytest.mark.parametrize("kind", [sse.RESET, sse.SNAPSHOT])
def test_a_snapshot_carries_its_seq_as_id_and_as_data(kind: str) -> None:
    snapshot = sse.Snapshot(seq=5100, scores=[Standing(user="Alice", score=1510, user_id=1)])
    [event] = decode(sse.encode_snapshot(kind, snapshot))

    assert (event.event, event.id) == (kind, "5100")
    assert json.loads(event.data) == {
        "seq": 5100,
        "scores": [{"user": "Alice", "score": 1510, "userId": 1}],
    }


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
changes = st.lists(
    st.builds(
        Change,
        seq=st.integers(1, sse.MAX_EVENT_ID),
        user_id=st.just(1),
        name=names,
        score=st.integers(0, 2**53 - 1),
        committed_us=st.integers(0, 3),
    ),
    max_size=8,
)


@given(changes)
def test_updates_survive_encoding_and_decoding(sent: list[Change]) -> None:
    stamp = ""
    received = []
    for event in decode(sse.encode_updates(sent)):
        assert event.event == sse.UPDATE
        stamp = event.comments[-1].removeprefix("committed ") if event.comments else stamp
        update = json.loads(event.data)
        received.append((int(event.id), update["user"], update["score"], int(stamp)))

    assert received == [(c.seq, c.name, c.score, c.committed_us) for c in sent]


@given(names)
def test_no_name_can_break_out_of_its_line(name: str) -> None:
    hostile = name + "\n\nid: 9\r\ndata: forged\u2028\u0000"
    [event] = decode(sse.encode_updates([change(name=hostile)]))

    assert json.loads(event.data)["user"] == hostile
    assert event.id == "1"


# Decoding: the standard


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_all_three_line_ends_are_understood(end: bytes) -> None:
    assert data_of(end.join([b"data: a", b"", b"data: b", b"", b""])) == ["a", "b"]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: one\ndata: two\n\n", ["one\ntwo"]),
        (b"data:no space\n\n", ["no space"]),
        (b"data:  two spaces\n\n", [" two spaces"]),
        (b"data\n\n", [""]),
        (b"data:\n\n", [""]),
        (b"data\ndata\n\n", ["\n"]),
        (b"data: a:b: c\n\n", ["a:b: c"]),
        (b"unknown: x\ndata: y\n\n", ["y"]),
        (b"data : not the field data\n\n", []),
        (b"Data: names are case-sensitive\n\n", []),
        (b"event: only\n\n", []),
        (b": only a comment\n\n", []),
        (b"data: never ended\n", []),
        (b"data: never ended", []),
        (b"\n\n\n", []),
        (b"\xef\xbb\xbfdata: after a BOM\n\n", ["after a BOM"]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: after two\n\n", []),
        (b"data: a\n\n\xef\xbb\xbfdata: BOM only counts at the start\n\n", ["a"]),
        (b"data: \xef\xbb\xbfkept\n\n", ["\ufeffkept"]),
        (b"data: \xff\xc3\n\n", ["\ufffd\ufffd"]),
        (b"data: \xe2\x82\xac\n\n", ["€"]),
        (b"data: a\x0bb\x0cc\xc2\x85d\xe2\x80\xa8e\n\n", ["a\x0bb\x0cc\x85d\u2028e"]),
        (b"", []),
    ],
)
def test_data_follows_the_standard(stream: bytes, expected: list[str]) -> None:
    assert data_of(stream) == expected


def test_untyped_event_is_a_message_after_a_typed_one() -> None:
    events = decode(b"event: reset\ndata: a\n\ndata: b\n\nevent: lost\n\ndata: c\n\n")

    assert [event.event for event in events] == ["reset", "message", "message"]


def test_the_id_lingers_until_another_one_comes() -> None:
    events = decode(b"data: a\n\nid: 7\ndata: b\n\ndata: c\n\nid\ndata: d\n\n")

    assert [event.id for event in events] == ["", "7", "7", ""]


def test_an_id_with_nul_is_ignored() -> None:
    [event] = decode(b"id: 7\nid: 8\x009\ndata: a\n\n")

    assert event.id == "7"


def test_the_id_of_an_unfinished_block_does_not_count() -> None:
    """Else a listener cut off here would resume behind an event that it never had."""
    decoder = Decoder()
    decode(b"id: 5000\ndata: a\n\nid: 5001\nevent: update\n", decoder=decoder)

    assert decoder.last_event_id == "5000"

    assert [event.id for event in decode(b"data: b\n\n", decoder=decoder)] == ["5001"]
    assert decoder.last_event_id == "5001"


def test_decoder_of_a_resumed_stream_starts_at_its_resume_id() -> None:
    decoder = Decoder(last_event_id="41")

    assert [event.id for event in decoder.feed(b"data: a\n\n")] == ["41"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0", 0),
        (b"2000", 2000),
        (b"-1", None),
        (b"1.5", None),
        (b"1 ", None),
        (b"", None),
        ("٣".encode(), None),
        (b"9" * 5000, None),
    ],
)
def test_retry_takes_plain_digits_only(value: bytes, expected: int | None) -> None:
    decoder = Decoder()
    decode(b"retry: " + value + b"\n\n", decoder=decoder)

    assert decoder.retry_ms == expected


def test_comments_belong_to_the_next_event() -> None:
    first, second = decode(b": a\n:b\n\ndata: 1\n\ndata: 2\n\n")

    assert first.comments == ("a", "b")
    assert second.comments == ()


def test_heartbeats_without_end_take_bounded_memory() -> None:
    decoder = Decoder()
    decode(*[sse.HEARTBEAT] * 10_000, b": last\n", decoder=decoder)
    [event] = decoder.feed(b"data: a\n\n")

    assert len(event.comments) == sse.MAX_COMMENTS
    assert event.comments[-1] == "last"


# Decoding: chunks


def test_a_cr_and_its_lf_in_two_chunks_end_one_line() -> None:
    assert data_of(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == ["a\nb"]


def test_an_empty_chunk_between_cr_and_lf_changes_nothing() -> None:
    assert data_of(b"data: a\r", b"", b"\ndata: b\r\n\r\n") == ["a\nb"]


def test_a_cr_at_the_end_of_a_chunk_is_a_whole_line_end() -> None:
    decoder = Decoder()

    assert [event.data for event in decoder.feed(b"data: a\r\r")] == ["a"]
    assert [event.data for event in decoder.feed(b"data: b\r\r")] == ["b"]


def test_feed_works_without_being_iterated() -> None:
    decoder = Decoder()
    decoder.feed(b"id: 3\n")
    decoder.feed(b"\n")

    assert decoder.last_event_id == "3"


stream_pieces = st.lists(
    st.sampled_from(
        # Line ends stand twice so that blocks end often.
        [
            b"\n",
            b"\r",
            b"\r\n",
            b"\n",
            b"\r",
            b"\r\n",
            b"data: x",
            b"data",
            b"id: 5",
            b"id",
            b"id: \0",
            b"event: e",
            b"retry: 9",
            b": c",
            b":",
            b"\xef\xbb\xbf",
            b"data: \xe2\x82\xac",
            b"\xe2\x82",
            b"data: \0",
        ]
    ),
    max_size=30,
).map(b"".join)


@given(stream_pieces, st.lists(st.integers(0, 120), max_size=12))
@example(b"data: a\r\ndata: b\r\r\n\n", [8])
def test_every_chunking_gives_the_events_of_one_chunk(stream: bytes, cuts: list[int]) -> None:
    borders = [0, *sorted(cut for cut in cuts if cut <= len(stream)), len(stream)]
    whole, pieces = Decoder(), Decoder()
    expected = decode(stream, decoder=whole)
    chunks = [stream[a:b] for a, b in pairwise(borders)]

    assert decode(*chunks, decoder=pieces) == expected
    assert (pieces.last_event_id, pieces.retry_ms) == (whole.last_event_id, whole.retry_ms)


@given(stream_pieces)
def test_byte_by_byte_gives_the_events_of_one_chunk(stream: bytes) -> None:
    assert decode(*[bytes([byte]) for byte in stream]) == decode(stream)


@given(stream_pieces)
def test_a_naive_reader_of_the_whole_text_agrees(stream: bytes) -> None:
    assert data_of(stream) == naive_data(stream)


def naive_data(stream: bytes) -> list[str]:
    """The standard's steps over the whole text at once, without any state between chunks."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    blocks = text[: text.rfind("\n\n") + 1] if "\n\n" in text else ""
    found = []
    for block in blocks.split("\n\n"):
        fields = [line.partition(":") for line in block.split("\n")]
        values = [value.removeprefix(" ") for name, _, value in fields if name == "data"]
        if values:
            found.append("\n".join(values))
    return found


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_no_bytes_at_all_raise(chunks: list[bytes]) -> None:
    decode(*chunks)


def test_a_line_without_end_is_refused_at_its_bound() -> None:
    decoder = Decoder()
    decoder.feed(b"data: " + b"x" * (sse.MAX_LINE_BYTES - 6))

    with pytest.raises(sse.StreamTooLong):
        decoder.feed(b"x")


def test_an_event_without_end_is_refused_at_its_bound() -> None:
    decoder = Decoder()
    line = b"data:" + b"x" * 1019 + b"\n"
    decoder.feed(line * (sse.MAX_EVENT_BYTES // 1024))

    with pytest.raises(sse.StreamTooLong):
        decoder.feed(line)


def test_a_long_line_in_tiny_chunks_does_not_cost_its_square() -> None:
    decoder = Decoder()
    started = time.process_time()
    for _ in range(200_000):
        decoder.feed(b"x")

    # Joining the whole line on each of these feeds would copy 20 GB.
    assert time.process_time() - started < 2


# Last-Event-ID


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("5001", 5001),
        ("007", 7),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        ("9" * 5000, None),
        ("", None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("1\n", None),
        ("1.0", None),
        ("1_0", None),
        ("0x1", None),
        ("²", None),
        ("٣", None),
        ("1764000000-0", None),
    ],
)
def test_only_our_own_ids_parse(value: str, expected: int | None) -> None:
    assert sse.parse_last_event_id(value) == expected


def test_chunk_states_its_size_in_hexadecimal() -> None:
    assert sse.chunk(b"0123456789abcdef") == b"10\r\n0123456789abcdef\r\n"
