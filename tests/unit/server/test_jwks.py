"""A JWKS source with invalid content leaves the keys unchanged."""

import asyncio
from pathlib import Path

import pytest

from server.auth.jwks import Jwks, JwksError, jwks_sources
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


async def test_keys_that_can_no_longer_be_read_end_at_their_greatest_age(tmp_path: Path) -> None:
    source = tmp_path / "keys.json"
    source.write_text(f'{{"keys":[{RFC_8037_KEY}]}}')
    received: list[object] = []
    now_s = 0.0
    jwks = Jwks(str(source), interval_s=0.01, max_age_s=60, clock=lambda: now_s)
    fresh = asyncio.create_task(jwks.keep_fresh(received.append))
    await eventually(lambda: bool(received))
    source.write_text('{"keys":[]}')
    await asyncio.sleep(0.1)
    received.clear()

    now_s = 61

    await eventually(lambda: received == [{}])
    source.write_text(f'{{"keys":[{RFC_8037_KEY}]}}')
    await eventually(lambda: bool(received[-1]))
    fresh.cancel()


def test_sources_are_separated_by_blanks_and_may_name_their_issuer() -> None:
    assert jwks_sources("") == ()
    assert jwks_sources("keys.json") == ((None, "keys.json"),)
    assert jwks_sources("https://a.example/|https://a.example/jwks?x=1 b.json") == (
        ("https://a.example/", "https://a.example/jwks?x=1"),
        (None, "b.json"),
    )
    for wrong in ("|keys.json", "https://a.example/|"):
        with pytest.raises(ValueError, match="must be files or URLs"):
            jwks_sources(wrong)
