"""`/openapi.json` and `/docs`, a static page made from that document.

No script, no font, nothing from other hosts: a browser loads a single response. The
curl lines beside the operations try them.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import msgspec
from sanic.request import Request
from sanic.response import HTTPResponse

from server.http.responses import is_unmodified
from server.http.routing import Route
from server.routes.openapi import document

OPENAPI_PATH = "/openapi.json"
DOCS_PATH = "/docs"

_STYLE = """
:root{color-scheme:light dark;--line:light-dark(#dfe3ee,#2a3049);--soft:light-dark(#f4f5fb,#171b2c);
--muted:light-dark(#565d78,#a0a8c6);--accent:light-dark(#4f46e5,#8b8cff)}
body{font:100%/1.5 ui-sans-serif,system-ui,sans-serif;max-width:56rem;margin:0 auto;
padding:1.5rem clamp(.75rem,3vw,2rem) 4rem;background:light-dark(#fff,#0c0f1a)}
h1{margin:0}h2{margin:2.5rem 0 .25rem}a{color:var(--accent)}
details{border:1px solid var(--line);border-radius:.6rem;margin:.6rem 0;padding:.6rem .9rem}
summary{cursor:pointer;display:flex;gap:.7rem;align-items:baseline;flex-wrap:wrap}
summary:focus-visible{outline:3px solid var(--accent);outline-offset:2px;border-radius:.4rem}
b.method{font:700 .75rem ui-monospace,monospace;color:var(--accent);min-width:3rem}
code,pre{font:.85rem/1.45 ui-monospace,monospace}
pre{background:var(--soft);border-radius:.4rem;padding:.7rem;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
td,th{text-align:left;padding:.3rem .6rem .3rem 0;border-top:1px solid var(--line);
vertical-align:top}
.muted{color:var(--muted)}
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def routes(port: int, base: str) -> list[Route]:
    """OPENAPI_PATH and DOCS_PATH, answered from memory; the examples name port and base path."""
    description = document(base)
    html = page(description, f"http://localhost:{port}{base}").encode()
    return [
        _route(OPENAPI_PATH, msgspec.json.encode(description), "application/json"),
        _route(DOCS_PATH, html, "text/html; charset=utf-8"),
    ]


def _route(path: str, body: bytes, content_type: str) -> Route:
    headers = {**_HEADERS, "etag": f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'}

    async def handler(request: Request) -> HTTPResponse:
        if is_unmodified(request.headers.getall("if-none-match", ()), headers["etag"]):
            return HTTPResponse(status=304, headers=headers)
        return HTTPResponse(body, headers=headers, content_type=content_type)

    return Route("GET", path, path.strip("/").replace(".", "_"), handler)


def page(description: Mapping[str, Any], server: str = "http://localhost:3000") -> str:
    """The page of an OpenAPI document, as HTML, with examples for `server`."""
    info = description["info"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body><main>",
        f"<h1>{escape(info['title'])} API</h1><p>{escape(info['description'])}",
        f' <a href="{OPENAPI_PATH[1:]}">{OPENAPI_PATH}</a></p>',
    ]
    for tag in description["tags"]:
        parts.append(f"<h2>{escape(tag['name'].capitalize())}</h2>")
        parts.append(f'<p class="muted">{escape(tag["description"])}</p>')
        for path, methods in description["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    parts.append(_operation(server, path, method, operation))
    parts.append("<h2>Shapes</h2>")
    for name, schema in sorted(description["components"]["schemas"].items()):
        parts.append(
            f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
            f"<pre>{_json(schema)}</pre></details>"
        )
    return "".join([*parts, "</main></body></html>"])


def _operation(server: str, path: str, method: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f'<details><summary><b class="method">{method.upper()}</b><code>{escape(path)}</code>',
        f' <span class="muted">{escape(operation["summary"])}</span></summary>',
    ]
    if "description" in operation:
        parts.append(f"<p>{_text(operation['description'])}</p>")
    parts.append(f"<pre>{escape(_curl(server + path, method, operation))}</pre>")
    parameters = [
        (item["name"], item["in"], _kind(item["schema"]), item.get("description", ""))
        for item in operation.get("parameters", ())
    ]
    if parameters:
        parts.append(_table(("parameter", "in", "value", ""), parameters))
    answers = [
        (status, ", ".join(answer.get("content", {})), answer["description"])
        for status, answer in operation["responses"].items()
    ]
    parts.append(_table(("status", "type", ""), answers))
    return "".join([*parts, "</details>"])


def _curl(url: str, method: str, operation: Mapping[str, Any]) -> str:
    words = ["curl -N" if "stream" in operation["tags"] and method == "get" else "curl"]
    if method != "get":
        words.append(f"-X {method.upper()}")
    security = operation.get("security", [])
    if security and {} not in security:
        words.append('-H "Authorization: Bearer $TOKEN"')
    if "requestBody" in operation:
        example = json.dumps(operation["requestBody"]["content"]["application/json"]["example"])
        words.append(f"-H 'Content-Type: application/json' -d '{example}'")
    return " ".join([*words, url])


def _kind(schema: Mapping[str, Any]) -> str:
    text = str(schema["type"])
    if "minimum" in schema:
        text += f" from {schema['minimum']} to {schema['maximum']}"
    if "default" in schema:
        text += f", {schema['default']} by default"
    return text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{cells}</tr>{body}</table>"


def _text(text: str) -> str:
    """Text with its `code` marked."""
    plain, *marked = escape(text).split("`")
    return plain + "".join(
        f"<code>{piece}</code>" if number % 2 == 0 else piece for number, piece in enumerate(marked)
    )


def _json(value: object) -> str:
    return escape(json.dumps(value, indent=2))
