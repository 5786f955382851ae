"""`/openapi.json` and `/docs`, a static page made from that document.

Nothing from other hosts. Without JavaScript all of the text is there; with it, the curl lines name
the address that the page was opened at, and a form at each operation sends its request.
"""

import hashlib
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

import msgspec
from sanic.request import Request
from sanic.response import HTTPResponse

from server.http.routing import Route
from server.routes import pages
from server.routes.openapi import document

OPENAPI_PATH = "/openapi.json"
DOCS_PATH = "/docs"
_FRAME = Template(importlib.resources.files(pages).joinpath("docs.html").read_text("utf-8"))


def routes(port: int, base: str, *, behind_proxy: bool) -> list[Route]:
    """OPENAPI_PATH and DOCS_PATH, answered from memory; the examples name port and base path."""
    description = document(base)
    html = page(description, f"http://localhost:{port}{base}").encode()
    if behind_proxy:
        html = pages.for_the_public(html)
    return [
        _route(OPENAPI_PATH, msgspec.json.encode(description), "application/json"),
        _route(DOCS_PATH, html, "text/html; charset=utf-8"),
    ]


def _route(path: str, body: bytes, content_type: str) -> Route:
    headers = {
        **pages.SECURITY_HEADERS,
        "cache-control": "no-cache",
        "etag": f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"',
    }

    async def handler(_request: Request) -> HTTPResponse:
        return HTTPResponse(body, headers=headers, content_type=content_type)

    return Route("GET", path, path.strip("/").replace(".", "_"), handler)


def page(description: Mapping[str, Any], server: str = "http://localhost:3000") -> str:
    """The page of an OpenAPI document, as HTML, with examples for `server`."""
    info, tags = description["info"], description["tags"]
    operations = {
        tag["name"]: [
            (path, method, operation)
            for path, methods in description["paths"].items()
            for method, operation in methods.items()
            if tag["name"] in operation["tags"]
        ]
        for tag in tags
    }
    contents, parts = [], []
    for tag in tags:
        name = tag["name"]
        contents.append(_link(name, name.capitalize()) + '<ul class="operations">')
        contents += [
            _link(operation["operationId"], operation["summary"]) + "</li>"
            for _, _, operation in operations[name]
        ]
        contents.append("</ul></li>")
        parts.append(f'<h2 id="{escape(name)}">{escape(name.capitalize())}</h2>')
        parts.append(f'<p class="muted">{escape(tag["description"])}</p>')
        parts += [_operation(server, *operation) for operation in operations[name]]
    contents.append(_link("schemas", "Schemas") + "</li>")
    parts.append('<h2 id="schemas">Schemas</h2>')
    for name, schema in sorted(description["components"]["schemas"].items()):
        parts.append(
            f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
            f"<pre>{_json(schema)}</pre></details>"
        )
    return _FRAME.substitute(
        title=escape(info["title"]),
        description=escape(info["description"]),
        server=escape(server),
        contents="".join(contents),
        operations="".join(parts),
    )


def _link(anchor: str, text: str) -> str:
    """An item of a list, left open for a list within it."""
    return f'<li><a href="#{escape(anchor)}">{escape(text)}</a>'


def _operation(server: str, path: str, method: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f'<details id="{escape(operation["operationId"])}"><summary>',
        f'<b class="method {method}">{method.upper()}</b><code>{escape(path)}</code>',
        f' <span class="muted">{escape(operation["summary"])}</span></summary>',
    ]
    if "description" in operation:
        parts.append(f"<p>{_text(operation['description'])}</p>")
    parts.append(
        f'<pre><code class="example">{escape(_curl(server + path, method, operation))}</code></pre>'
    )
    parameters = operation.get("parameters", ())
    parts.append(_form(path, method, operation, parameters))
    if parameters:
        rows = [
            (item["name"], item["in"], _kind(item["schema"]), item.get("description", ""))
            for item in parameters
        ]
        parts.append(_table(("parameter", "in", "value", "meaning"), rows))
    answers = [
        (status, ", ".join(answer.get("content", {})), answer["description"])
        for status, answer in sorted(operation["responses"].items())
    ]
    parts.append(_table(("status", "type", "meaning"), answers))
    return "".join([*parts, "</details>"])


def _form(
    path: str, method: str, operation: Mapping[str, Any], parameters: Sequence[Mapping[str, Any]]
) -> str:
    """What `docs.js` sends the request from."""
    fields = "".join(
        f"<label>{escape(item['name'])}<input name='{escape(item['name'])}'"
        f" data-in='{item['in']}' autocomplete='off'{' required' * (item['in'] == 'path')}></label>"
        for item in parameters
        if item["in"] != "cookie"
    )
    body = ""
    if "requestBody" in operation:
        example = operation["requestBody"]["content"]["application/json"]["example"]
        body = f"<label>Body<textarea spellcheck='false'>{_json(example)}</textarea></label>"
    row = f"<div class='row'>{fields}</div>" if fields else ""
    name = escape(f"{method.upper()} {path}")
    return (
        f"<form class='try needs-script' data-method='{method.upper()}' data-path='{escape(path)}'"
        f" aria-label='Try {name}'>"
        f"{row}{body}"
        "<div><button type='submit' class='button'>Send</button></div>"
        "<output aria-live='polite'></output></form>"
    )


def _curl(url: str, method: str, operation: Mapping[str, Any]) -> str:
    """The command to paste, an option a line: a narrow page then breaks none in the middle."""
    words = ["curl"]
    if "stream" in operation["tags"] and method == "get":
        words.append("-N")
    if method != "get":
        words.append(f"-X {method.upper()}")
    lines = [" ".join([*words, url])]
    security = operation.get("security", [])
    if security and {} not in security:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    if "requestBody" in operation:
        example = json.dumps(operation["requestBody"]["content"]["application/json"]["example"])
        lines += ["-H 'Content-Type: application/json'", f"-d '{example}'"]
    return " \\\n  ".join(lines)


def _kind(schema: Mapping[str, Any]) -> str:
    text = str(schema["type"])
    if "minimum" in schema:
        text += f" from {schema['minimum']} to {schema['maximum']}"
    if "default" in schema:
        text += f", {schema['default']} by default"
    return text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The roles say what the elements mean once a phone's style lays them out as blocks."""
    heads = "".join(f'<th role="columnheader" scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr role="row"><th role="rowheader" scope="row">{_text(name)}</th>'
        + "".join(f'<td role="cell">{_text(cell)}</td>' for cell in cells)
        + "</tr>"
        for name, *cells in rows
    )
    return (
        f'<table role="table"><thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )


def _text(text: str) -> str:
    """Text with its `code` marked."""
    plain, *marked = escape(text).split("`")
    return plain + "".join(
        f"<code>{piece}</code>" if number % 2 == 0 else piece for number, piece in enumerate(marked)
    )


def _json(value: object) -> str:
    return escape(json.dumps(value, indent=2))
