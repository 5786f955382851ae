"""The proxies of deploy/proxies over a real server: what is public passes, streams at once."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from scoreboard import contract
from server.settings import ServerSettings
from tests.support.api import Api, running_api, token
from tests.support.eventually import eventually
from tests.support.proxies import COMMANDS, FOLDER, passes, running_proxy


@pytest.fixture
def settings(settings: ServerSettings) -> ServerSettings:
    return replace(
        settings,
        proxies_count=1,
        streams_per_address=2,
        stream_auth_required=False,
    )


@asynccontextmanager
async def plain_stream(port: int) -> AsyncIterator[bytes]:
    """A stream's beginning for a client like curl, which says nothing about encodings."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /scores/stream?snapshot=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        yield await asyncio.wait_for(reader.readuntil(b"event: snapshot\n"), 5)
    finally:
        writer.close()


async def status(api: Api, path: str, method: str = "GET", **request: Any) -> int:
    async with api.http.request(method, api.url + path, **request) as response:
        return response.status


async def links(api: Api, path: str) -> set[str]:
    """What a page links to."""
    async with api.http.get(api.url + path) as response:
        found = re.findall(r'href="([^"#]+)', await response.text())
    return {urljoin(path, link) for link in found}


@pytest.mark.parametrize("name", COMMANDS)
async def test_what_is_public_passes_and_nothing_else(
    name: str, settings: ServerSettings, tmp_path: Path
) -> None:
    async with running_api(settings, embedded_worker=True) as behind:
        with running_proxy(name, tmp_path, upstream=behind.port) as port:
            api = Api(port, behind.http)
            await eventually(lambda: passes(api))

            large = await status(api, contract.UPDATE_PATH, "POST", data=bytes(200_000))
            async with api.listen() as one, plain_stream(port) as plain:
                assert (await api.submit(1, 10))[0] == 202
                await asyncio.wait_for(one.until(1), 5)
                third = await status(
                    api, contract.STREAM_PATH, headers={"X-Forwarded-For": "203.0.113.9"}
                )
                statuses = {
                    path: await status(api, path)
                    for path in (
                        "/",
                        "/docs",
                        "/openapi.json",
                        "/scores/users/1",
                        "/assets/style.css",
                        "/metrics",
                        "/admin/stats",
                        "/operator",
                        "/readyz",
                        "/scoresx",
                    )
                }
                linked = {
                    path: await status(api, path)
                    for path in sorted(await links(api, "/") | await links(api, "/docs"))
                }
            ticket = await status(
                api,
                contract.TICKET_PATH,
                "POST",
                headers={"Authorization": f"Bearer {token(1)}", "Origin": api.url},
            )

    assert b"200 OK" in plain
    # A proxy's own bound on bodies must not make it a 502.
    assert large == 413
    # Its own header does not count: the proxy's does.
    assert third == 429
    assert ticket in (200, 201)
    assert {"/docs", "/openapi.json"} <= set(linked)
    assert set(linked.values()) == {200}, linked
    assert {path for path, status in statuses.items() if status == 404} == {
        *("/metrics", "/admin/stats", "/operator", "/readyz", "/scoresx"),
    }


def test_every_file_names_the_same_public_paths() -> None:
    for file in ("nginx.conf", "haproxy.cfg", "Caddyfile", "envoy.yaml"):
        text = (FOLDER / file).read_text("utf-8")
        assert "/scores" in text
        assert "/assets" in text
        assert "/docs" in text
        assert "/openapi.json" in text
        assert "SCOREBOARD_PROXIES_COUNT=1" in text
