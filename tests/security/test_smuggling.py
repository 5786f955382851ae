"""Requests that two readers could cut differently, through the proxies of deploy/proxies.

Each hides a request for a page that the proxy keeps inside; nothing of that page may come back.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from server.settings import ServerSettings
from tests.security.corpus import SMUGGLED, syntax
from tests.support.api import Api, running_api, token
from tests.support.eventually import eventually
from tests.support.programs import program
from tests.support.proxies import COMMANDS, passes, running_proxy
from tests.support.reserved_ports import reserved_port

INSIDE = b"GET /admin/stats HTTP/1.1\r\nHost: a\r\n\r\n"
TELLTALES = (b'"instance"', b'"uptime', b"scoreboard_")
CHUNKED = (
    b"POST /scores/update HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nAuthorization: Bearer %b\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5;a=b\r\n{"use\r\n15\r\nrId":1,"increment":7}\r\n0\r\n\r\n'
)
DEFAULT_NGINX = """
daemon off; pid {folder}/nginx.pid; error_log stderr; events {{ }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; }} }}
}}
"""


@pytest.fixture
def settings(settings: ServerSettings) -> ServerSettings:
    return replace(settings, request_timeout_s=1.0)


async def exchange(port: int, data: bytes) -> bytes:
    """What comes back within a moment; a proxy may keep the connection open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    with suppress(TimeoutError, ConnectionError):
        writer.write(data)
        async with asyncio.timeout(1.5):
            while more := await reader.read(65_536):
                received += more
    writer.close()
    return received


@pytest.mark.parametrize("name", COMMANDS)
async def test_no_hidden_request_reaches_what_a_proxy_keeps_inside(
    name: str, settings: ServerSettings, tmp_path: Path
) -> None:
    async with running_api(settings, embedded_worker=True) as behind:
        with running_proxy(name, tmp_path, upstream=behind.port) as port:
            api = Api(port, behind.http)
            await eventually(lambda: passes(api))
            cases = {
                kind: case.data.replace(SMUGGLED, INSIDE) for kind, case in syntax(token(1)).items()
            }
            came = dict(
                zip(
                    cases,
                    await asyncio.gather(*(exchange(port, data) for data in cases.values())),
                    strict=True,
                )
            )
            # It is a page that would be seen, were it asked for.
            inside = await exchange(behind.port, INSIDE)
            good = await exchange(port, CHUNKED % token(1).encode())

    assert any(word in inside for word in TELLTALES)
    assert {kind: data for kind, data in came.items() if any(w in data for w in TELLTALES)} == {}
    assert good.startswith(b"HTTP/1.1 202 "), good


async def test_nginx_as_installed_carries_the_stream_and_a_chunked_submission(
    settings: ServerSettings, tmp_path: Path
) -> None:
    """It speaks HTTP/1.0 to the server and changes the Host."""
    port = reserved_port()
    async with running_api(settings, embedded_worker=True) as behind:
        config = tmp_path / "nginx.conf"
        config.write_text(
            DEFAULT_NGINX.format(folder=tmp_path, port=port, upstream=behind.port), "utf-8"
        )
        nginx = await asyncio.create_subprocess_exec(program("nginx", "nginx"), "-c", str(config))
        try:
            api = Api(port, behind.http)
            await eventually(lambda: passes(api))
            async with api.listen() as stream:
                good = await exchange(port, CHUNKED % token(1).encode())
                events = await asyncio.wait_for(stream.until(1), 10)
        finally:
            # Not killed: its workers would stay.
            nginx.terminate()
            await nginx.wait()

    assert good.startswith(b"HTTP/1.1 202 ")
    assert events[0].event == "update"
