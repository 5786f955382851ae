"""The pages for people: `/`, `/operator` and the files they load. No data of their own.

Everything a page shows comes from the public contract (`/scores`, the stream) or
from `/admin/stats`. No build step: a file here is the file a browser gets.
"""

import hashlib
import importlib.resources
import re
from dataclasses import dataclass

from sanic import HTTPResponse, Request
from sanic.response import raw

from server.http.routing import Handler, Route

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Text only ever becomes text: nothing here may turn a string into markup or code.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}

ROUTES = {
    "/": "index.html",
    "/operator": "operator.html",
    "/favicon.ico": "icon.svg",
    **{
        f"/assets/{name}": name
        for name in (
            "app.js",
            "board.js",
            "case_filters.js",
            "cases.js",
            "docs.css",
            "docs.js",
            "icon.svg",
            "noscript.css",
            "operator.css",
            "operator.js",
            "quantile.js",
            "rates.js",
            "sparkline.js",
            "stream.js",
            "style.css",
            "theme.js",
            "view.js",
            "words.js",
        )
    },
}
"""Every path served here. A fixed table: no path of a request ever becomes a file name."""

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, kw_only=True)
class Page:
    """A file as it is sent; `etag` changes with its content."""

    body: bytes
    content_type: str
    etag: str

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the body, and with a 304 in its place."""
        # Revalidated each time, answered with 304: a deploy shows at once.
        return {**SECURITY_HEADERS, "ETag": self.etag, "Cache-Control": "no-cache"}


_OPERATOR_LINK = re.compile(rb'\s*<a [^>]*href="operator">[^<]*</a>')


def for_the_public(html: bytes) -> bytes:
    """A page without its link to the operator's view, which proxies keep inside."""
    return _OPERATOR_LINK.sub(b"", html)


def read_pages(*, behind_proxy: bool = False) -> dict[str, Page]:
    """The pages by path, read from the installed package."""
    folder = importlib.resources.files(__name__)
    bodies = {path: folder.joinpath(name).read_bytes() for path, name in ROUTES.items()}
    if behind_proxy:
        bodies["/"] = for_the_public(bodies["/"])
    return {path: _page(ROUTES[path], body) for path, body in bodies.items()}


def _page(name: str, body: bytes) -> Page:
    return Page(
        body=body,
        content_type=_TYPES[name.rpartition(".")[2]],
        etag=f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"',
    )


def pages_routes(*, behind_proxy: bool) -> list[Route]:
    """The pages, answered from memory."""
    return [
        Route("GET", path, f"page_{number}", _handler(page))
        for number, (path, page) in enumerate(read_pages(behind_proxy=behind_proxy).items())
    ]


def _handler(page: Page) -> Handler:
    async def handler(_request: Request) -> HTTPResponse:
        return raw(page.body, content_type=page.content_type, headers=page.headers)

    return handler
