"""The OpenAPI document matches the application's routes; the page loads nothing else."""

import re
from html import escape
from typing import Any

import jsonschema
import pytest

from scoreboard import errors
from scoreboard.errors import ProblemKind
from server.app import create_app
from server.routes.docs_page import page
from server.routes.openapi import document
from server.routes.pages import ROUTES
from tests.support.api import api_settings

OWN = {"/docs", *ROUTES}
"""Addresses for people."""


async def routes() -> set[tuple[str, str]]:
    nowhere = "127.0.0.1:1"
    app = create_app(
        api_settings(
            mysql_url=f"mysql://a:b@{nowhere}/c",
            redis_url=f"redis://{nowhere}/0",
            temporal_address=nowhere,
        )
    )
    found = set()
    for route in app.router.routes:
        path = "/" + route.path.strip("/")
        for method in route.methods - {"HEAD", "OPTIONS"}:
            found.add((method, re.sub("<[^>]*>", "{}", path)))
    return {(method, path) for method, path in found if path not in OWN}


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    ]


async def test_routes_and_openapi_paths_are_the_same() -> None:
    described = {(method, re.sub("{[^}]*}", "{}", path)) for method, path, _ in operations()}

    assert described == await routes()


def test_every_operation_has_a_name_a_place_and_its_answers() -> None:
    tags = {tag["name"] for tag in document()["tags"]}
    names = [operation["operationId"] for _, _, operation in operations()]

    assert len(set(names)) == len(names)
    for method, path, operation in operations():
        assert set(operation["tags"]) <= tags, path
        assert "200" in operation["responses"] or "202" in operation["responses"], path
        if operation.get("security") and {} not in operation["security"]:
            assert "401" in operation["responses"], (method, path)
        if "requestBody" in operation:
            assert {"400", "413", "415", "422"} <= set(operation["responses"]), path


def test_every_kind_of_refusal_is_described_somewhere() -> None:
    text = str(document())
    # These can meet any request, before it has an address.
    anywhere = {"method_not_allowed", "request_timeout", "internal"}
    anywhere |= {"uri_too_long", "header_too_large"}
    codes = {kind.code for kind in vars(errors).values() if isinstance(kind, ProblemKind)}

    assert {code for code in codes if f"`{code}`" not in text} == anywhere


def test_references_lead_somewhere_and_examples_are_valid() -> None:
    described = document()
    schemas = described["components"]["schemas"]
    references = set(re.findall(r"#/components/schemas/(\w+)", str(described)))

    assert references <= set(schemas)
    for _, _, operation in operations():
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            jsonschema.validate(
                content["example"], {**content["schema"], "components": described["components"]}
            )


@pytest.mark.parametrize(
    "body", [{"userId": 1, "increment": 0}, {"userId": 0, "increment": 1}, {"userId": 1}]
)
def test_document_refuses_bodies_that_the_parser_refuses(body: dict[str, int]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, document()["components"]["schemas"]["Update"])


def test_the_page_loads_only_our_files_and_its_links_lead_somewhere() -> None:
    html = page(document())
    links = set(re.findall(r'(?:href|src)="([^"]*)"', html))
    anchors = {link[1:] for link in links if link.startswith("#")}

    assert links - {f"#{anchor}" for anchor in anchors} == {
        *("./", "operator", "openapi.json"),
        *(f"assets/{name}" for name in ("icon.svg", "style.css", "docs.css", "noscript.css")),
        "assets/docs.js",
    }
    assert not re.search(r"\b(srcset|action|data|poster|on\w+)=", html)
    assert len(anchors) == len(document()["tags"]) + len(operations()) + 1
    assert anchors <= set(re.findall(r' id="([^"]*)"', html))


def test_the_page_shows_every_operation_and_repeats_no_markup() -> None:
    html = page(document())
    described = document()
    described["info"]["title"] = "<script>alert(1)</script>"

    for _, path, operation in operations():
        assert f"<code>{path}</code>" in html
        assert escape(operation["summary"]) in html
    assert "<script>" not in page(described)
