"""HTTP over a raw socket: what is ambiguous, too large or too slow is refused and closed.

No service is needed for that, so none is there: the API runs with all of them away.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from tests.support.api import Api, api_settings, running_api, token

REQUEST_TIMEOUT_S = 0.6
KEEP_ALIVE_S = 1.2
NOWHERE = "127.0.0.1:1"


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    settings = api_settings(
        mysql_url=f"mysql://nobody:x@{NOWHERE}/none",
        redis_url=f"redis://{NOWHERE}/0",
        temporal_address=NOWHERE,
        request_timeout_s=REQUEST_TIMEOUT_S,
        keep_alive_s=KEEP_ALIVE_S,
    )
    async with running_api(settings, ready=False) as api:
        yield api


async def exchange(api: Api, *pieces: bytes, pause_s: float = 0) -> bytes:
    """Everything the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    received = asyncio.create_task(reader.read())
    try:
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
        return await asyncio.wait_for(received, 10)
    except ConnectionResetError:
        # The server closed while we were still sending; what it said may be lost with that.
        return b""
    finally:
        writer.close()


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /scores/update HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n" + SMUGGLED,
        GET + b"X-Folded: a\r\n b\r\n\r\n",
        GET + b"X-Nul: a\x00b\r\n\r\n",
        GET + b"X-Bare: a\rb\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        GET + b"Host: b\r\n\r\n",
        GET + b"Content-Length: \xd9\xa5\r\n\r\n",
        GET + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        GET + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        GET + b"Content-Length: -1\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_an_ambiguous_request_is_refused_and_nothing_after_it_is_read(
    api: Api, request_bytes: bytes
) -> None:
    answer = await exchange(api, request_bytes + SMUGGLED)

    assert statuses(answer) == [400]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b'"code":"malformed"' in body
    assert b"smuggled" not in answer


async def test_a_header_that_is_too_large_is_refused(api: Api) -> None:
    answer = await exchange(api, GET + b"X-Large: " + b"x" * 20_000 + b"\r\n\r\n")

    assert statuses(answer) == [431]


async def test_a_body_that_is_too_large_is_refused_before_it_has_arrived(api: Api) -> None:
    answer = await exchange(
        api,
        b"POST /scores/update HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nabc",
    )

    assert statuses(answer)[:1] == [413]


async def test_a_dripped_header_is_cut_off(api: Api) -> None:
    began = time.monotonic()

    answer = await exchange(api, *[b"GET /healthz"[n : n + 1] for n in range(6)], pause_s=0.2)

    assert time.monotonic() - began < REQUEST_TIMEOUT_S + 5
    # Bytes that arrive after the end may reset the connection before its answer is read.
    assert statuses(answer) in ([408], [])


async def test_a_dripped_body_is_cut_off(api: Api) -> None:
    began = time.monotonic()
    head = (
        b"POST /scores/update HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: 27\r\n\r\n" % token(1).encode()
    )

    answer = await exchange(api, head, *[b"{" for _ in range(5)], pause_s=0.2)

    assert time.monotonic() - began < REQUEST_TIMEOUT_S + 5
    # Bytes that arrive after the end may reset the connection before its answer is read.
    assert statuses(answer) in ([408], [])


async def test_an_idle_connection_is_closed(api: Api) -> None:
    began = time.monotonic()

    answer = await exchange(api, GET + b"\r\n")

    assert statuses(answer) == [200]
    assert KEEP_ALIVE_S - 0.3 < time.monotonic() - began < KEEP_ALIVE_S + 5


@pytest.mark.parametrize("sent", [b"", b"G"], ids=["nothing", "a byte"])
async def test_a_connection_without_a_request_is_closed(api: Api, sent: bytes) -> None:
    began = time.monotonic()

    answer = await exchange(api, sent)

    assert statuses(answer) in ([], [408])
    assert time.monotonic() - began < max(KEEP_ALIVE_S, REQUEST_TIMEOUT_S) + 5


async def test_pipelined_requests_are_answered_in_order(api: Api) -> None:
    answer = await exchange(
        api, GET + b"\r\n", b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n" + GET + b"\r\n"
    )

    assert statuses(answer) == [200, 404, 200]


async def test_a_split_request_is_one_request(api: Api) -> None:
    answer = await exchange(api, GET[:9], GET[9:] + b"Connection: close\r\n\r", b"\n", pause_s=0.05)

    assert statuses(answer) == [200]


async def test_server_without_backends_runs_and_names_them(api: Api) -> None:
    alive, _, _ = await api.get("/healthz")
    status, body, headers = await api.get("/readyz")

    assert alive == 200
    assert (status, body["code"]) == (503, "unavailable")
    assert body["parts"] == ["mysql", "redis", "temporal"]
    assert headers["Retry-After"]


async def test_without_any_service_requests_get_503_at_once(api: Api) -> None:
    began = time.monotonic()

    submitted, problem = await api.submit(1, 10)
    read, _, _ = await api.get("/scores")
    listened, _, headers = await api.get("/scores/stream")

    assert (submitted, read, listened) == (503, 503, 503)
    assert problem["code"] == "unavailable"
    assert headers["Retry-After"]
    assert time.monotonic() - began < 5


async def test_server_without_backends_still_explains_bad_requests(api: Api) -> None:
    status, _ = await api.submit(1, 10, bearer="nonsense")
    forbidden, _ = await api.submit(1, 10, bearer=token(2))

    assert (status, forbidden) == (401, 403)


async def test_a_taken_port_is_an_error_not_a_hang(api: Api) -> None:
    settings = api_settings(
        mysql_url=f"mysql://nobody:x@{NOWHERE}/none",
        redis_url=f"redis://{NOWHERE}/0",
        temporal_address=NOWHERE,
        port=api.port,
    )

    with pytest.raises(OSError, match="in use"):
        async with running_api(settings, ready=False):
            pass
