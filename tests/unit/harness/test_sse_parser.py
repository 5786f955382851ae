"""Spans hold what the stream said, however the bytes were cut."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import encode

from harness.net.sse_parser import Kind, Span
from harness.net.stream_framing import GZIP, OWN_GZIP, UNCHUNKED, Framer, framer_of
from scoreboard.domain import Change, Standing
from scoreboard.gzipped import HEAD, HasHistory, packed, stored
from scoreboard.sse import HEARTBEAT, Snapshot, chunk, encode_hello, encode_snapshot, encode_updates
from server.stream.gzip_trailer import Ending


def change(seq: int, committed_us: int = 1) -> Change:
    return Change(seq=seq, user_id=seq, name=f"U{seq}", score=seq * 10, committed_us=committed_us)


def test_consecutive_updates_form_one_span_with_commit_runs() -> None:
    span = Span(encode_updates([change(5, 100), change(6, 100), change(7, 200)]), 0)

    assert span.plain
    assert (span.first, span.last) == (5, 7)
    assert span.groups == [(100, 5, 2), (200, 7, 1)]
    assert [(i.user, i.score) for i in span.items] == [("U5", 50), ("U6", 60), ("U7", 70)]


@pytest.mark.parametrize("seqs", [[1, 3], [1, 1], [2, 1]])
def test_a_jump_in_the_ids_is_not_plain(seqs: list[int]) -> None:
    span = Span(encode_updates([change(seq) for seq in seqs]), 0)

    assert not span.plain
    assert [item.id for item in span.items] == seqs


def test_heartbeats_leave_a_span_plain_and_resets_do_not() -> None:
    reset = encode_snapshot("reset", Snapshot(seq=9, scores=[Standing(user="A", score=1)]))

    assert Span(HEARTBEAT + encode_updates([change(1)]), 0).plain
    span = Span(reset + encode_updates([change(10)]), 0)
    assert not span.plain
    assert span.items[0].kind is Kind.RESET
    assert span.items[0].top is not None
    assert span.items[0].top.seq == 9


def test_the_first_block_tells_cursor_and_retry() -> None:
    [item] = Span(encode_hello(42), 0).items

    assert (item.kind, item.id, item.retry_ms) == (Kind.HELLO, 42, 2000)


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (b"id: 1\nevent: update\ndata: {\n\n", Kind.BROKEN),
        (b"id: 1\nevent: update\ndata: {}\n\n", Kind.BROKEN),
        (b"event: update\ndata: {}\n\n", Kind.BROKEN),
        (b'event: update\ndata: {"user":"A","score":1.5}\n\n', Kind.BROKEN),
        (b'event: update\ndata: {"user":"A","score":9999999999999999999}\n\n', Kind.BROKEN),
        (b"id: 1\nevent: other\ndata: {}\n\n", Kind.OTHER),
        (b'data: {"user":"A","score":1}\n\n', Kind.OTHER),
        (b'id: 1\nevent: reset\ndata: {"seq":"x"}\n\n', Kind.RESET),
    ],
)
def test_event_outside_the_contract_is_told_from_one_of_another_type(
    block: bytes, kind: Kind
) -> None:
    [item] = Span(block, 0).items

    assert item.kind is kind
    assert item.top is None


@pytest.mark.parametrize("user", ["Ann", 7])
@pytest.mark.parametrize("score", [1510, 1510.0, "1510", "1510.00", "+1510"])
def test_update_is_read_however_its_encoder_writes_a_whole_number(
    user: str | int, score: float | str
) -> None:
    [item] = Span(b"event:update\ndata:%b\n\n" % encode({"user": user, "score": score}), 0).items

    assert (item.kind, item.user, item.score) == (Kind.UPDATE, str(user), 1510)


@pytest.mark.parametrize("score", ["1_510", "", "1e3", "ten", "1.5", None, True, [1]])
def test_what_is_no_whole_number_is_no_score(score: object) -> None:
    [item] = Span(b"event: update\ndata: %b\n\n" % encode({"user": "A", "score": score}), 0).items

    assert item.kind is Kind.BROKEN


def test_other_spellings_of_an_update_are_read() -> None:
    block = b': committed 7\nevent:update\nid:3\ndata:{"score":5,\ndata: "user":"A"}\n\n'

    span = Span(block, 0)

    assert (span.first, span.groups) == (3, [(7, 3, 1)])
    assert (span.items[0].user, span.items[0].score) == ("A", 5)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.data(), st.booleans(), st.booleans())
def test_framing_gives_the_same_blocks_for_every_cut(
    sizes: list[int], data: st.DataObject, crlf: bool, gzip: bool
) -> None:
    seq = 0
    payloads = []
    for size in sizes:
        payloads.append(encode_updates([change(seq + n + 1) for n in range(size)]))
        seq += size
    whole = b"".join(payloads)
    sent = [p.replace(b"\n", b"\r\n") if crlf else p for p in payloads]
    if gzip:
        sent = [HEAD + stored(sent[0]), *(packed(p) for p in sent[1:])]
    raw = b"".join(chunk(p) for p in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    framer = Framer(GZIP if gzip else 0, begins=True)
    seen = b"".join(payload for piece in pieces if piece for payload in framer.feed(piece))

    assert seen == whole
    assert framer.empty


def test_blocks_cut_by_chunks_are_joined() -> None:
    payload = encode_updates([change(1), change(2)])
    framer = Framer()

    first = list(framer.feed(chunk(payload[:10])))
    rest = list(framer.feed(chunk(payload[10:])))

    assert first == []
    assert rest == [payload]


def test_the_last_chunk_ends_the_stream_and_bad_framing_is_an_error() -> None:
    framer = Framer()
    assert list(framer.feed(chunk(HEARTBEAT) + b"0\r\n\r\n")) == [HEARTBEAT]
    assert framer.ended

    for raw in (b"zz\r\n", b"3\r\nabcdef\r\n", b"x" * 5000):
        with pytest.raises(ValueError, match=r"chunk|invalid literal"):
            list(Framer().feed(raw))


def test_a_gzip_stream_ends_with_its_trailer_wherever_that_is_cut() -> None:
    ending = Ending()
    ending.own(HEARTBEAT)
    end = ending.blocks()
    for cut in range(1, len(end)):
        framer = Framer(GZIP, begins=True)
        rest = chunk(end[:cut]) + chunk(end[cut:]) if cut > 1 else chunk(end)

        assert list(framer.feed(chunk(HEAD + stored(HEARTBEAT)))) == [HEARTBEAT]
        assert framer.empty
        assert list(framer.feed(rest + b"0\r\n\r\n")) == []
        assert framer.ended


def test_gzip_chunk_depending_on_earlier_ones_has_its_own_error() -> None:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    payload = encode_updates([change(1), change(2)])
    chunks = [chunk(deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)) for _ in "ab"]
    framer = Framer(GZIP)

    assert list(framer.feed(chunks[0])) == [payload]
    with pytest.raises(HasHistory):
        list(framer.feed(chunks[1]))


def test_a_stream_without_chunks_is_read_too() -> None:
    framer = Framer(UNCHUNKED)
    payload = encode_updates([change(1)])

    assert list(framer.feed(payload[:-1])) == []
    assert list(framer.feed(payload[-1:])) == [payload]


@pytest.mark.parametrize(
    ("headers", "coding"),
    [
        (b"transfer-encoding: Chunked\r\ncontent-encoding: gzip\r\n", GZIP),
        (b"Transfer-Encoding: chunked\r\nContent-Encoding: identity\r\n", 0),
        (b"transfer-encoding: chunked\r\n", 0),
        (b"connection: close\r\n", UNCHUNKED),
        (b"content-encoding: x-gzip\r\n", UNCHUNKED | OWN_GZIP),
    ],
)
def test_the_answers_head_says_how_its_body_is_read(headers: bytes, coding: int) -> None:
    framer = framer_of(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n")

    assert framer.coding == coding
    assert framer.chunked is not bool(coding & UNCHUNKED)


def test_a_coding_that_nobody_asked_for_is_a_bad_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: br\r\n\r\n"

    with pytest.raises(ValueError, match="content-encoding"):
        framer_of(head)
