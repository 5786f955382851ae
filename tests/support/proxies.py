"""The proxies of deploy/proxies, run with other ports and files, where they are installed."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import aiohttp

from scoreboard import contract
from tests.support.api import Api
from tests.support.programs import program
from tests.support.reserved_ports import reserved_port
from tests.support.tls_proxy import Identity

FOLDER = Path(__file__).parents[2] / "deploy" / "proxies"
COMMANDS = {
    "nginx": ("nginx.conf", ["nginx", "-g", "daemon off;", "-c"]),
    "haproxy": ("haproxy.cfg", ["haproxy", "-db", "-f"]),
    "caddy": ("Caddyfile", ["caddy", "run", "--adapter", "caddyfile", "--config"]),
}


def _with_http2(name: str, folder: Path, identity: Identity) -> Iterator[tuple[str, str]]:
    """What each file's comment says of HTTP/2."""
    both = folder / "both.pem"
    both.write_bytes(identity.cert.read_bytes() + identity.key.read_bytes())
    files = f"ssl_certificate {identity.cert}; ssl_certificate_key {identity.key};"
    yield {
        "nginx": ("listen 8080;", f"listen 8080 ssl http2; {files}"),
        "haproxy": ("bind :8080", f"bind :8080 ssl crt {both} alpn h2,http/1.1"),
        "caddy": (":8080 {", f"https://127.0.0.1:8080 {{\n\ttls {identity.cert} {identity.key}"),
    }[name]
    # It would listen on port 80 to send browsers here.
    yield "auto_https off", "auto_https disable_redirects"


async def passes(api: Api) -> bool:
    """Whether the board comes through; raises AssertionError while no connection can be made.

    A proxy's own 503 says that it has not found the server ready yet.
    """
    try:
        async with api.http.get(f"{api.url}{contract.SCORES_PATH}") as response:
            return response.status == HTTPStatus.OK
    except aiohttp.ClientError as error:
        raise AssertionError(str(error)) from error


@contextmanager
def running_proxy(
    name: str, folder: Path, *, upstream: int, identity: Identity | None = None
) -> Iterator[int]:
    """The port of a proxy in front of 127.0.0.1:`upstream`; with an `identity` it is the TLS end
    and speaks HTTP/2 to clients."""
    program(name, package=name)
    file, command = COMMANDS[name]
    port = reserved_port()
    text = (FOLDER / file).read_text("utf-8")
    for old, new in (
        *(_with_http2(name, folder, identity) if identity else ()),
        ("8080", f"{port}"),
        ("127.0.0.1:3000", f"127.0.0.1:{upstream}"),
        ("/tmp/nginx-scoreboard", str(folder / "nginx")),
        ("/run/nginx-scoreboard.pid", str(folder / "nginx.pid")),
    ):
        text = text.replace(old, new)
    config = folder / file
    config.write_text(text)
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, str(config)], stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield port
        finally:
            # The workers of nginx outlive a master that is killed alone.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
