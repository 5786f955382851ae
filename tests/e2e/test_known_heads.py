"""The fast path for later requests of a connection, over a raw socket on real services."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scoreboard import contract
from tests.support.api import Api, token
from tests.support.eventually import eventually, settled

UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def post(body: bytes, *, key: bytes | None = None, bearer: str = "") -> bytes:
    named = b"Idempotency-Key: %b\r\n" % key if key else b""
    return (
        b"POST /scores/update HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n%b"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    ) % ((bearer or TOKEN).encode(), named, len(body), body)


TOKEN = token(1)
BODY = b'{"userId":1,"increment":1}'
READ = b"GET /scores HTTP/1.1\r\nHost: a\r\n\r\n"


def masked(answer: tuple[bytes, bytes]) -> tuple[list[bytes], bytes]:
    """An answer without what differs from one to the next: id, date, what the limit leaves."""
    head, body = answer
    head = re.sub(rb"\r\ndate: [^\r]+ GMT\r", b"\r\ndate\r", head)
    head = re.sub(rb'\r\nratelimit: "per-user";r=\d+\r', b"\r\nratelimit\r", head)
    return sorted(UUID.sub(b"*", head).split(b"\r\n")), UUID.sub(b"*", body)


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[bytes, bytes]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        found = re.search(rb"content-length: (\d+)", head)
        assert found, head
        return head, await self.reader.readexactly(int(found[1]))

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        self.writer.write(request)
        return await self.answer()


@asynccontextmanager
async def connected(api: Api) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def test_the_short_way_answers_as_the_long_one(api: Api) -> None:
    async with connected(api) as connection:
        answers = [await connection.ask(post(BODY)) for _ in range(4)]

    assert len({UUID.search(body)[0] for _, body in answers}) == 4  # type: ignore[index]
    assert [masked(answer) for answer in answers] == [masked(answers[0])] * 4
    assert b"\r\ndate" in b"\r\n".join(masked(answers[0])[0])
    left = [re.search(rb'\r\nratelimit: "per-user";r=(\d+)\r\n', head) for head, _ in answers]
    assert [int(found[1]) for found in left if found] == [99, 98, 97, 96]


async def test_a_repeated_key_gives_the_first_answer_on_either_way(api: Api) -> None:
    async with connected(api) as connection:
        first = await connection.ask(post(BODY, key=b"k-1"))
        await connection.ask(post(BODY, key=b"k-2"))
        again = await connection.ask(post(BODY, key=b"k-1"))
        other_head, other_body = await connection.ask(post(BODY.replace(b"1}", b"2}"), key=b"k-1"))

    assert UUID.findall(b"".join(again)) == UUID.findall(b"".join(first))
    assert masked(again) == masked(first)
    assert other_head.startswith(b"HTTP/1.1 422 ")
    assert b"idempotency_key_reused" in other_body


async def test_fast_path_refusals_equal_those_of_the_slow_path(api: Api) -> None:
    async with connected(api) as connection:
        await connection.ask(post(BODY))
        codes = []
        for body in (
            b'{"userId":2,"increment":1}',
            b'{"userId":1,"increment":0}',
            b'{"userId":1,"increment":1]',
        ):
            head, answer = await connection.ask(post(body))
            codes.append((head[9:12], answer.split(b'"code":"')[1].split(b'"')[0]))
        accepted, _ = await connection.ask(post(BODY))

    assert codes == [(b"403", b"forbidden"), (b"422", b"invalid"), (b"400", b"malformed")]
    assert accepted.startswith(b"HTTP/1.1 202 ")


async def test_answers_keep_the_order_of_requests_whatever_their_way(api: Api) -> None:
    async with connected(api) as connection:
        await connection.ask(post(BODY))
        await connection.ask(READ)
        unknown = READ.replace(b"Host: a", b"Host: a\r\nX-New: 1")

        connection.writer.write(post(BODY))
        await settled()
        connection.writer.write(READ + unknown + post(BODY) + READ)
        heads = [(await connection.answer())[0] for _ in range(5)]

    assert [head[9:12] for head in heads] == [b"202", b"200", b"200", b"202", b"200"]


async def test_a_request_that_comes_in_pieces_is_one_request(api: Api) -> None:
    async with connected(api) as connection:
        await connection.ask(post(BODY))
        for cut in (1, 30, 60, len(post(BODY)) - 5):
            connection.writer.write(post(BODY)[:cut])
            await settled()
            head, _ = await connection.ask(post(BODY)[cut:])
            assert head.startswith(b"HTTP/1.1 202 ")


async def test_a_chunked_submission_is_the_same_on_either_way(api: Api) -> None:
    head = post(b"", bearer=TOKEN).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    body = b"5;a=b\r\n%b\r\n%x\r\n%b\r\n0\r\nX: y\r\n\r\n" % (BODY[:5], len(BODY) - 5, BODY[5:])
    async with connected(api) as connection:
        answers = [await connection.ask(head + body) for _ in range(3)]
        cut = await connection.ask(head + body.replace(b"\r\n0\r\n", b"\r\n00\r\n"))
        large, _ = await connection.ask(head + b"8000\r\n" + b" " * 0x8000 + b"\r\n0\r\n\r\n")
        read, _ = await connection.ask(READ)
        bad, _ = await connection.ask(head + body.replace(b"5;a", b"5 a"))

    assert [masked(answer) for answer in (*answers, cut)] == [masked(answers[0])] * 4
    assert answers[0][0].startswith(b"HTTP/1.1 202 ")
    assert large.startswith(b"HTTP/1.1 413 ")
    assert read.startswith(b"HTTP/1.1 200 ")
    assert bad.startswith(b"HTTP/1.1 400 ")

    async def applied() -> bool:
        return bool({line["user"]: line["score"] for line in await api.scores()}["Alice"] == 1504)

    await eventually(applied)


async def test_the_body_of_a_known_read_is_never_taken_for_a_request(api: Api) -> None:
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    head = b"GET /scores HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    async with connected(api) as connection:
        first = await connection.ask(head + smuggled)
        connection.writer.write(head)
        await settled()
        again = await connection.ask(smuggled)
        after = await connection.ask(READ)

    dates = re.compile(rb"\r\ndate: [^\r]*", re.IGNORECASE)
    answers = {(dates.sub(b"", head), body) for head, body in (first, again, after)}
    assert len(answers) == 1


async def test_fast_path_reads_show_submitted_changes(api: Api) -> None:
    async with connected(api) as connection, api.listen() as stream:
        _, before = await connection.ask(READ)
        for count in range(1, 4):
            await connection.ask(post(BODY))
            await stream.until(count)
            head, after = await connection.ask(READ)

    assert b'{"user":"Alice","score":1503,"userId":1}' in after
    assert before != after
    assert contract.SEQ_HEADER.lower().encode() + b": 3" in head.lower()


async def test_an_expired_token_is_refused_on_a_known_head(api: Api) -> None:
    short = token(1, ttl_s=1)
    async with connected(api) as connection:
        head, _ = await connection.ask(post(BODY, bearer=short))
        assert head.startswith(b"HTTP/1.1 202 ")

        async def is_refused() -> bool:
            head, _ = await connection.ask(post(BODY, bearer=short))
            return head.startswith(b"HTTP/1.1 401 ")

        await eventually(is_refused, timeout_s=15, interval_s=0.25)
