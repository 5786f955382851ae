"""`/openapi.json` and `/docs` over HTTP. No service is needed for them."""

import re
from collections.abc import AsyncIterator

import pytest_asyncio

from server.routes.openapi import document
from tests.support.api import Api, api_settings, running_api

NOWHERE = "127.0.0.1:1"


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    settings = api_settings(
        mysql_url=f"mysql://nobody:x@{NOWHERE}/none",
        redis_url=f"redis://{NOWHERE}/0",
        temporal_address=NOWHERE,
    )
    async with running_api(settings, ready=False) as api:
        yield api


async def test_the_document_is_served_and_kept(api: Api) -> None:
    status, served, headers = await api.get("/openapi.json")
    etag = headers["etag"]

    assert (status, served) == (200, document())
    async with api.http.get(f"{api.url}/openapi.json", headers={"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")


async def test_the_page_runs_under_a_policy_that_allows_its_own_files_only(api: Api) -> None:
    async with api.http.get(f"{api.url}/docs") as response:
        html = await response.text()

    policy = response.headers["content-security-policy"]
    assert response.status == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'none';")
    assert "style-src 'self'" in policy
    assert "<style" not in html
    assert not re.search(r' (style|on\w+)="', html)
    assert "unsafe" not in policy
