"""HTTP as the standards say: methods, Date, conditions, CORS, base path, sockets."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import pytest_asyncio

from scoreboard.tokens import SCOPE_PLAYERS, SCOPE_REVIEW, mint
from server.routes import pages
from server.settings import ServerSettings
from tests.support.api import SECRET, Api, running_api, token
from tests.support.eventually import eventually

GAME = "https://game.example"
KNOWN = {
    "/": "GET, HEAD, OPTIONS",
    "/docs": "GET, HEAD, OPTIONS",
    "/openapi.json": "GET, HEAD, OPTIONS",
    "/assets/app.js": "GET, HEAD, OPTIONS",
    "/scores": "GET, HEAD, OPTIONS",
    "/scores/stream": "GET, HEAD, OPTIONS",
    "/scores/users/1": "GET, HEAD, OPTIONS",
    "/scores/update": "POST, OPTIONS",
    "/scores/stream/ticket": "POST, OPTIONS",
    "/healthz": "GET, HEAD, OPTIONS",
    "/readyz": "GET, HEAD, OPTIONS",
    "/metrics": "GET, HEAD, OPTIONS",
    "/admin/stats": "GET, HEAD, OPTIONS",
}


@pytest_asyncio.fixture
async def api(settings: ServerSettings) -> AsyncIterator[Api]:
    async with running_api(settings, embedded_worker=True) as api:
        yield api


async def talk(port: int | str, data: bytes, *, host: str = "127.0.0.1") -> bytes:
    """All that comes back until the server closes."""
    if isinstance(port, str):
        reader, writer = await asyncio.open_unix_connection(port)
    else:
        reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_head_is_get_without_the_body_and_options_names_the_methods(api: Api) -> None:
    for path, allowed in KNOWN.items():
        async with api.http.options(api.url + path) as options:
            assert (options.status, options.headers["allow"]) == (204, allowed), path
            assert await options.read() == b""
        if "HEAD" not in allowed:
            continue
        async with api.http.head(api.url + path) as head:
            assert (head.status, await head.read()) == (200, b""), path
            assert "date" in head.headers
        if path != "/scores/stream":
            async with api.http.get(api.url + path) as get:
                body = await get.read()
            # Counters differ from one answer to the next.
            if path not in ("/metrics", "/admin/stats"):
                assert int(head.headers["content-length"]) == len(body), path
            assert head.headers["content-type"] == get.headers["content-type"]
        else:
            assert head.headers["content-type"] == "text/event-stream"
    async with api.http.options(api.url + "/nowhere") as options:
        assert options.status == 404
    async with api.http.put(api.url + "/scores") as put:
        assert put.status == 405
        assert set(put.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (b"OPTIONS / HTTP/1.0\r\n\r\n", 204),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 204),
        (b"HEAD /readyz HTTP/1.0\r\n\r\n", 200),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a/readyz HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n", 200),
        (b"GET http:///readyz HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405),
        (b"get / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405),
    ],
)
async def test_probes_of_balancers_and_odd_targets(api: Api, probe: bytes, expected: int) -> None:
    answer = await talk(api.port, probe)

    assert status(answer) == expected
    if probe.startswith(b"HEAD"):
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "path",
    [
        *("/scores/", "//scores", "/scores//", "/./scores", "/x/../scores", "/scores%20"),
        *("/%73cores", "/SCORES", "//", "/admin/stats/", "/admin//stats", "/scores;a=b"),
        *("/scores/users/%31", "/admin/stats/.", "/..%2fscores", "/scores\\"),
    ],
)
async def test_a_resource_has_one_address(api: Api, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()

    assert status(await talk(api.port, request)) == 404


async def test_a_fragment_in_a_target_is_malformed(api: Api) -> None:
    for target in (b"/scores#a", b"/admin/stats#/scores", b"/scores?a=1#b", b"http://a/#"):
        request = b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target
        assert status(await talk(api.port, request)) == 400


async def test_every_answer_has_the_date(api: Api) -> None:
    for path in ("/scores", "/scores", "/scores", "/nowhere", "/healthz", "/scores/users/99"):
        async with api.http.get(api.url + path) as response:
            assert parsedate_to_datetime(response.headers["date"]).year >= 2024
    async with api.listen() as stream:
        assert parsedate_to_datetime(stream.response.headers["date"]).year >= 2024


async def test_a_coded_body_is_unsupported_and_an_identity_one_is_not(api: Api) -> None:
    bearer = {"Authorization": f"Bearer {token(1)}"}
    for coding, expected in (("gzip", 415), ("br, gzip", 415), ("identity", 202), ("", 415)):
        async with api.http.post(
            api.url + "/scores/update",
            json={"userId": 1, "increment": 1},
            headers=bearer | {"Content-Encoding": coding},
            compress=None,
        ) as response:
            assert response.status == expected, coding
            if expected == 415:
                assert response.headers["accept-encoding"] == "identity"


async def test_if_none_match_is_read_to_the_letter(api: Api) -> None:
    async with api.http.get(api.url + "/scores") as response:
        etag = response.headers["etag"]

    for field, expected in (
        (etag, 304),
        (f"W/{etag}", 304),
        (f'"a,b", {etag}', 304),
        (f'"x",,{etag} ,', 304),
        ("*", 304),
        (f'"{etag}"', 200),
        (etag.strip('"'), 200),
        (f"{etag}, *", 200),
        (f"w/{etag}", 200),
        (f'"a{etag.strip(chr(34))}"', 200),
        ("", 200),
    ):
        for method in ("GET", "HEAD"):
            async with api.http.request(
                method, api.url + "/scores", headers={"If-None-Match": field}
            ) as response:
                assert response.status == expected, field
                assert response.headers["etag"] == etag
    request = (
        b'GET /scores HTTP/1.1\r\nHost: a\r\nConnection: close\r\nIf-None-Match: "x"\r\n'
        b"If-None-Match: %b\r\n\r\n" % etag.encode()
    )
    assert status(await talk(api.port, request)) == 304


async def test_any_representation_meets_if_none_match_any_whatever_the_address(api: Api) -> None:
    scopes = (SCOPE_REVIEW, SCOPE_PLAYERS)
    minted = mint(SECRET, subject="1", now_s=int(time.time()), ttl_s=60, scopes=scopes)
    bearer = {"Authorization": f"Bearer {minted}"}
    _, accepted = await api.submit(1, 10)
    given = {"userId": "1", "submissionId": accepted["submissionId"]}
    async with api.http.get(api.url + "/openapi.json") as response:
        described = (await response.json())["paths"]
    paths = [*pages.ROUTES, "/docs", *(path for path in described if "get" in described[path])]

    for path in paths:
        for method in ("GET", "HEAD"):
            async with api.http.request(
                method,
                api.url + path.format_map(given),
                headers=bearer | {"If-None-Match": "*", "Accept-Encoding": "gzip"},
            ) as response:
                assert (path, response.status) == (path, 304)
                assert await response.read() == b""
                assert not {"content-type", "content-encoding"} & set(response.headers)
    for path, expected in (("/scores/users/9", 404), ("/scores?limit=x", 400)):
        async with api.http.get(api.url + path, headers={"If-None-Match": "*"}) as response:
            assert response.status == expected


async def test_a_stream_over_http_1_0_has_no_chunks_and_ends_with_its_connection(
    settings: ServerSettings,
) -> None:
    async with running_api(settings, embedded_worker=True) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(
            b"GET /scores/stream HTTP/1.0\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n"
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        await api.submit(1, 10)
        body = b""
        while b"event: update" not in body:
            body += await asyncio.wait_for(reader.read(65_536), 10)
    # The server has drained: the end of the stream is the end of the connection.
    body += await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"transfer-encoding" not in head
    assert b"content-encoding" not in head
    assert b"connection: close" in head
    assert body.startswith(b"retry: ")
    assert b'\ndata: {"user":"Alice","score":1510' in body
    assert not re.search(rb"^[0-9a-f]+\r$", body, re.MULTILINE)


async def ask_and_end(port: int | str, data: bytes) -> bytes:
    """Everything that comes back to a client that closes its half after these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def update() -> bytes:
    return (
        f"POST /scores/update HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(1)}\r\n"
        "Content-Type: application/json\r\nContent-Length: 26\r\n\r\n"
        '{"userId":1,"increment":1}'
    ).encode()


async def test_a_client_that_has_sent_its_last_request_gets_every_answer(api: Api) -> None:
    post = update()
    read = b"GET /scores HTTP/1.1\r\nHost: x\r\n\r\n"
    page = b"GET /scores?limit=3 HTTP/1.1\r\nHost: x\r\n\r\n"

    # Twice, since the second time most of them are on the fast path.
    for _ in range(2):
        for requests, expected in (
            ((post,), (202,)),
            ((read,), (200,)),
            ((page,), (200,)),
            ((post, read, page, post), (202, 200, 200, 202)),
        ):
            answers = (await ask_and_end(api.port, b"".join(requests))).split(b"HTTP/1.1 ")[1:]
            assert [int(answer[:3]) for answer in answers] == list(expected)


@pytest.mark.parametrize("data", [b"", b"GET /scores HT", update()[:-9]])
async def test_a_client_that_ends_within_a_request_gets_no_answer(api: Api, data: bytes) -> None:
    assert await ask_and_end(api.port, data) == b""


async def test_what_is_left_of_the_limit_is_told_with_each_accepted_answer(api: Api) -> None:
    seen = []
    for key in ("a", "b", "a"):
        async with api.http.post(
            api.url + "/scores/update",
            json={"userId": 2, "increment": 1},
            headers={"Authorization": f"Bearer {token(2)}", "Idempotency-Key": key},
        ) as response:
            assert response.status == 202
            assert response.headers["ratelimit-policy"] == '"per-user";q=100;w=10'
            seen.append(response.headers["ratelimit"])

    # A repeat is free.
    assert seen == ['"per-user";r=99', '"per-user";r=98', '"per-user";r=98']


async def test_pages_of_an_allowed_origin_may_read_and_submit(settings: ServerSettings) -> None:
    bearer = {"Authorization": f"Bearer {token(1)}"}
    body = {"userId": 1, "increment": 1}
    async with running_api(replace(settings, stream_origins=(GAME,)), embedded_worker=True) as api:

        async def ask(method: str, path: str, expected: int, **options: object) -> None:
            for origin, told in ((GAME, GAME), ("https://evil.example", None), (None, None)):
                headers = dict(options.get("headers") or {})  # type: ignore[call-overload]
                if origin is not None:
                    headers["Origin"] = origin
                async with api.http.request(
                    method, api.url + path, json=options.get("json"), headers=headers
                ) as response:
                    assert response.status == expected, (path, origin)
                    assert response.headers.get("access-control-allow-origin") == told
                    assert "origin" in response.headers["vary"]
                    if told:
                        exposed = response.headers["access-control-expose-headers"]
                        assert {"etag", "location", "retry-after"} <= set(exposed.split(", "))

        for _ in range(3):
            await ask("GET", "/scores", 200)
        await ask("HEAD", "/scores", 200)
        await ask("GET", "/scores/users/1", 200)
        await ask("GET", "/nowhere", 404)
        # Refused before there is a request.
        await ask("GET", "/scores//", 404)
        await ask("GET", "/scores", 431, headers={"X": "x" * 9000})
        await ask("POST", "/scores/update", 415, headers={"Content-Encoding": "gzip"}, json=body)
        await ask("POST", "/scores/update", 401, json=body)
        await ask("POST", "/scores/update", 202, json=body, headers=bearer)
        await ask("POST", "/scores/update", 422, json={"userId": 1}, headers=bearer)
        await ask("POST", "/scores/updates", 200, json=[body], headers=bearer)
        for path in ("/scores", "/scores/update", "/scores/updates", "/scores/stream"):
            asked = {"Origin": GAME, "Access-Control-Request-Method": "POST"}
            async with api.http.options(api.url + path, headers=asked) as preflight:
                assert preflight.status == 204
                allowed = preflight.headers["access-control-allow-headers"].split(", ")
                wanted = {"authorization", "content-type", "cache-control", "idempotency-key"}
                assert wanted | {"signature", "content-digest"} <= set(allowed)
                assert "OPTIONS" in preflight.headers["access-control-allow-methods"]
                assert preflight.headers["access-control-allow-origin"] == GAME
            asked["Origin"] = "https://evil.example"
            async with api.http.options(api.url + path, headers=asked) as preflight:
                assert preflight.status == 403


async def test_everything_is_served_under_the_base_path(settings: ServerSettings) -> None:
    async with running_api(
        replace(settings, base_path="/board"), embedded_worker=True, ready=False
    ) as api:
        api.url += "/board"

        async def ready() -> bool:
            return (await api.get("/readyz"))[0] == 200

        await eventually(ready)
        code, accepted = await api.submit(1, 10)
        assert code == 202
        async with api.http.post(
            api.url + "/scores/update",
            json={"userId": 1, "increment": 1},
            headers={"Authorization": f"Bearer {token(1)}"},
        ) as response:
            assert response.headers["location"].startswith("/board/scores/updates/")
        async with api.listen(snapshot=1) as stream:
            assert (await stream.until(1))[0].event == "snapshot"
        async with api.http.get(api.url, allow_redirects=False) as moved:
            assert (moved.status, moved.headers["location"]) == (308, "/board/")
        async with api.http.get(f"{api.url}/") as page:
            html = await page.text()
            assert page.status == 200
            assert 'src="assets/app.js"' in html
            assert '"/' not in html.replace('"/>', "")
        async with api.http.get(f"{api.url}/openapi.json") as document:
            assert (await document.json())["servers"] == [{"url": "/board"}]
        assert (await api.get(f"/scores/updates/{accepted['submissionId']}"))[0] == 401
        async with api.http.get(f"http://127.0.0.1:{api.port}/scores") as elsewhere:
            assert elsewhere.status == 404


async def test_both_families_and_a_unix_socket_are_listened_on(
    settings: ServerSettings, tmp_path: Path
) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    path = str(tmp_path / "scoreboard.sock")
    # As a process that was killed leaves it.
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    async with running_api(replace(settings, host=f"*,unix:{path}"), ready=False) as api:
        assert status(await talk(api.port, request)) == 200
        with suppress(OSError):
            assert status(await talk(api.port, request, host="::1")) == 200
        assert status(await talk(path, request)) == 200
        with pytest.raises(OSError, match="in use"):
            async with running_api(replace(settings, host=f"unix:{path}"), ready=False):
                pass
