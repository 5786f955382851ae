"""Chunked bodies: decoded in any pieces, within bounds, and only as the standard writes them."""

import pytest

from server.http.chunked import OVERHEAD_MAX, BadChunk, BodyTooLarge, ChunkedBody, whole_body

END = b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (END, b""),
        (b"5\r\nhello\r\n" + END, b"hello"),
        (b"5\r\nhello\r\n1\r\n!\r\n" + END, b"hello!"),
        (b"A\r\n0123456789\r\n" + END, b"0123456789"),
        (b"00000005\r\nhello\r\n000\r\n\r\n", b"hello"),
        (b'5;a\r\nhello\r\n0;b=c;d="e f\\""\r\n\r\n', b"hello"),
        (b"5 ; a = b\r\nhello\r\n" + END, b"hello"),
        (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", b"hello"),
        (b"4\r\n\r\n\r\n\r\n" + END, b"\r\n\r\n"),
    ],
)
def test_a_chunked_body_is_decoded_whole_and_byte_by_byte(data: bytes, content: bytes) -> None:
    body, buffer, found = ChunkedBody(100), bytearray(), b""
    for byte in data:
        assert not body.done
        buffer.append(byte)
        found += body.take(buffer)

    assert (found, body.done, bytes(buffer)) == (content, True, b"")
    assert whole_body(data, 100) == content


def test_what_follows_a_body_is_left_in_the_buffer() -> None:
    body, buffer = ChunkedBody(100), bytearray(b"1\r\na\r\n" + END + b"GET / HTTP/1.1\r\n")

    assert (body.take(buffer), body.done) == (b"a", True)
    assert buffer == b"GET / HTTP/1.1\r\n"
    assert whole_body(b"1\r\na\r\n" + END + b"G", 100) is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"0x5\r\nhello\r\n", b"+5\r\nhello\r\n", b"-5\r\nhello\r\n", b" 5\r\nhello\r\n"),
        *(b"5 \r\nhello\r\n", b"5_\r\nhello\r\n", b"\r\nhello\r\n", b"g\r\nhello\r\n"),
        *(
            b"000000005\r\nhello\r\n",
            b"5;\r\nhello\r\n",
            b"5;=b\r\nhello\r\n",
            b"5;a=\r\nhello\r\n",
        ),
        *(
            b"5;\n\r\nhello\r\n",
            b"5;a\nb\r\nhello\r\n",
            b"5\n\r\nhello\r\n",
            b"5;a=\x7f\r\nhello\r\n",
        ),
        *(b'5;a="\r\nhello\r\n', b"5\r\nhelloo\r\n", b"5\r\nhello\n\n", b"5\r\nhello\rX"),
        *(
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            b"0\r\nHost: a\r\n\r\n",
            b"0\r\nContent-Length: 5\r\n\r\n",
        ),
        *(b"0\r\ntransfer-encoding: chunked\r\n\r\n", b"0\r\nAUTHORIZATION: x\r\n\r\n"),
        *(
            b"0\r\nX : y\r\n\r\n",
            b"0\r\n folded: y\r\n\r\n",
            b"0\r\nX: a\nb\r\n\r\n",
            b"0\r\n: y\r\n\r\n",
        ),
        "٥\r\nhello\r\n".encode(),
    ],
)
def test_everything_else_is_refused(data: bytes) -> None:
    with pytest.raises(BadChunk):
        ChunkedBody(100).take(bytearray(data + END))


def test_content_and_what_surrounds_it_are_bounded() -> None:
    with pytest.raises(BodyTooLarge):
        ChunkedBody(100).take(bytearray(b"64\r\n" + b"x" * 100 + b"\r\n1\r\n"))
    with pytest.raises(BodyTooLarge):
        ChunkedBody(100).take(bytearray(b"ffffffff\r\n"))
    for endless in (b"5;" + b"a" * OVERHEAD_MAX, b"0\r\nX: " + b"a" * OVERHEAD_MAX):
        with pytest.raises(BadChunk):
            ChunkedBody(100).take(bytearray(endless))
    many = b"".join(b"1;%b\r\nx\r\n" % (b"a" * 60) for _ in range(90))
    with pytest.raises(BadChunk):
        ChunkedBody(100).take(bytearray(many))
