"""A source of keys that answers nonsense leaves the keys as they were."""

import asyncio

import pytest

from server.auth.jwks import Jwks, JwksError


async def serving(answer: bytes) -> asyncio.Server:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    return await asyncio.start_server(talk, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
        b"nonsense\r\n\r\n",
        b"",
        b"HTTP/1.1 500 Oh\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{",
    ],
)
async def test_a_broken_answer_is_an_error_of_its_own(answer: bytes) -> None:
    told: list[object] = []
    async with await serving(answer) as server:
        [socket] = server.sockets
        source = f"http://127.0.0.1:{socket.getsockname()[1]}/"
        with pytest.raises(JwksError):
            await Jwks(source, interval_s=60, on_keys=told.append).load()

    assert told == []
