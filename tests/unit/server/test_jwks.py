"""A JWKS source with invalid content leaves the keys unchanged."""

import asyncio
from pathlib import Path

import pytest

from server.auth.jwks import Jwks, JwksError
from tests.support.eventually import eventually

RFC_8037_KEY = (
    '{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"1",'
    '"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
)


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
    async with await serving(answer) as server:
        [socket] = server.sockets
        source = f"http://127.0.0.1:{socket.getsockname()[1]}/"
        with pytest.raises(JwksError):
            await Jwks(source, interval_s=60).load()


async def test_broken_source_leaves_the_keys_until_it_can_be_read(tmp_path: Path) -> None:
    source = tmp_path / "keys.json"
    source.write_text("{")
    received: list[object] = []
    jwks = Jwks(str(source), interval_s=0.01)
    fresh = asyncio.create_task(jwks.keep_fresh(received.append))
    await asyncio.sleep(0.05)
    assert received == []

    source.write_text(f'{{"keys":[{RFC_8037_KEY}]}}')

    await eventually(lambda: bool(received))
    fresh.cancel()
