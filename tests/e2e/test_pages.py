"""The pages as the real server serves them: headers, caching, and the live board in a browser."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import pytest_asyncio

from scoreboard import contract
from scoreboard.tokens import SCOPE_REVIEW, mint
from server.routes.pages import CONTENT_SECURITY_POLICY, ROUTES
from server.settings import ServerSettings
from tests.support.api import SECRET, Api, api_settings, running_api, token
from tests.support.browser import DESKTOP, Browser, open_browser, texts
from tests.support.eventually import eventually, eventually_sync


@pytest_asyncio.fixture
async def lonely(task_queue: str) -> AsyncIterator[Api]:
    """A server without any service: pages need none."""
    settings = api_settings(
        mysql_url="mysql://root@127.0.0.1:9/none",
        redis_url="redis://127.0.0.1:9/0",
        temporal_address="127.0.0.1:9",
        task_queue=task_queue,
    )
    async with running_api(settings, ready=False) as api:
        yield api


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.resize(DESKTOP)
        yield opened


@pytest.mark.parametrize("path", sorted(ROUTES))
async def test_pages_are_locked_down_and_asked_for_again_each_time(lonely: Api, path: str) -> None:
    async with lonely.http.get(lonely.url + path) as first:
        body = await first.read()
        headers = first.headers
    async with lonely.http.get(
        lonely.url + path, headers={"If-None-Match": headers["ETag"]}
    ) as again:
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["ETag"] == headers["ETag"]
    async with lonely.http.head(lonely.url + path) as head:
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(body)))

    assert first.status == 200
    assert body
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-cache"


def test_the_policy_forbids_inline_code_other_hosts_and_frames() -> None:
    rules = dict(rule.split(" ", 1) for rule in CONTENT_SECURITY_POLICY.split("; "))

    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("path", ["/assets/", "/assets/../app.py", "/assets/%2e%2e/app.py", "/x"])
async def test_unknown_paths_are_not_found(lonely: Api, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", lonely.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    status = await reader.readline()
    writer.close()

    assert b" 404 " in status


def coding_of(browser: Browser, path: str) -> object:
    """The content coding that this browser is given there."""
    return browser.driver.execute_async_script(
        "const [path, done] = arguments; const stop = new AbortController();"
        " fetch(path, {signal: stop.signal}).then((answer) => {"
        " done(answer.headers.get('content-encoding')); stop.abort() })",
        path,
    )


async def test_the_board_follows_real_submissions(api: Api, browser: Browser) -> None:
    await asyncio.to_thread(browser.open, api.url + "/")

    def lines() -> object:
        return browser.run(
            "return [...document.querySelectorAll('#rows tr')].map((row) =>"
            " row.querySelector('.name').textContent + ' ' +"
            " row.querySelector('.score-number').textContent)"
        )

    async def shows(*wanted: str) -> None:
        async def check() -> bool:
            assert await asyncio.to_thread(lines) == list(wanted)
            return True

        await eventually(check)

    await shows("Alice 1,500", "Bob 1,400")
    await api.submit(2, 150)
    await shows("Bob 1,550", "Alice 1,500")
    await api.submit(2, -100)
    await shows("Alice 1,500", "Bob 1,450")
    # So what the board has shown came as gzip.
    assert await asyncio.to_thread(coding_of, browser, contract.STREAM_PATH) == "gzip"
    assert browser.console() == []


async def test_the_operator_sees_the_process_at_work(api: Api, browser: Browser) -> None:
    await asyncio.to_thread(browser.open, api.url + "/operator")
    await asyncio.gather(*(api.submit(1, 1) for _ in range(30)))

    async def shown() -> bool:
        outcomes = await asyncio.to_thread(lambda: texts(browser.find_all("#outcomes td")))
        assert outcomes[1] == "30"
        return True

    await eventually(shown)
    assert (await asyncio.to_thread(lambda: browser.find("#pill").text)) == "Live"
    assert browser.console() == []


async def test_a_reviewer_decides_a_held_submission_on_the_page(api: Api, browser: Browser) -> None:
    await api.submit(1, 500_000, key="big")
    await api.submit(2, 400_000, key="also-big")
    reviewer = mint(
        SECRET, subject="rev", now_s=int(time.time()), ttl_s=600, scopes=(SCOPE_REVIEW,)
    )

    def unlock() -> None:
        browser.open(api.url + "/operator")
        eventually_sync(browser.find("#unlock").is_displayed)
        browser.find("#unlock").click()
        browser.find("#token").send_keys(reviewer)
        browser.find("#token-form button").click()
        eventually_sync(lambda: len(browser.find_all("#cases tr")) == 2)

    def decide(name: str, decision: str) -> str:
        [row] = [row for row in browser.find_all("#cases tr") if name in row.text]
        assert "large increment" in row.text
        row.find_element("css selector", f".{decision}").click()
        browser.driver.switch_to.alert.accept()
        eventually_sync(lambda: f"points for {name}" in browser.find("#cases-note").text)
        return browser.find("#cases-note").text

    await asyncio.to_thread(unlock)
    said = await asyncio.to_thread(decide, "Alice", "approve")
    assert said == "+500,000 points for Alice: approved."

    async def applied() -> bool:
        assert (await api.scores())[0] == {"user": "Alice", "score": 501_500, "userId": 1}
        return True

    await eventually(applied)
    said = await asyncio.to_thread(decide, "Bob", "reject")
    assert said == "+400,000 points for Bob: rejected."
    assert {"user": "Bob", "score": 1400, "userId": 2} in await api.scores()


async def test_a_board_behind_tokens_is_followed_with_tickets(
    settings: ServerSettings, browser: Browser
) -> None:
    settings = replace(settings, stream_auth_required=True)

    def unlock() -> None:
        eventually_sync(browser.find("#token-form").is_displayed)
        browser.find("#token").send_keys(token(1))
        browser.find("#token-form button").click()

    async with running_api(settings, embedded_worker=True) as api:
        await asyncio.to_thread(browser.open, api.url + "/")
        await asyncio.to_thread(unlock)
        await api.submit(2, 150)

        async def leads() -> bool:
            found = await asyncio.to_thread(lambda: texts(browser.find_all("#rows .name")))
            assert found == ["Bob", "Alice"]
            return True

        await eventually(leads)
