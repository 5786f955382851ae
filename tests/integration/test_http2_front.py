"""The proxies of deploy/proxies with HTTP/2 and a browser in front: page, streams, submissions, and
requests that hide another one in frames.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scoreboard import contract
from server.settings import ServerSettings
from tests.support.api import running_api, token
from tests.support.browser import DESKTOP, Browser, open_browser
from tests.support.eventually import eventually, eventually_sync
from tests.support.http2_frames import Fields, exchange
from tests.support.programs import program
from tests.support.proxies import COMMANDS, running_proxy
from tests.support.tls_proxy import Authority

STREAMS = 8
"""More than the six connections that a browser opens to one host over HTTP/1.1."""
LOOK = """
const [count, done] = arguments;
const sources = Array.from({length: count}, () => new EventSource("scores/stream"));
let open = 0;
for (const source of sources) source.addEventListener("open", () => {
  open += 1;
  if (open < count) return;
  for (const each of sources) each.close();
  done(performance.getEntriesByType("navigation")[0].nextHopProtocol);
});
"""
INSIDE = b"GET /admin/stats HTTP/1.1\r\nHost: a\r\n\r\n"
TELLTALES = (b'"instance"', b'"uptime', b"scoreboard_")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.resize(DESKTOP)
        yield opened


@pytest.fixture
def settings(settings: ServerSettings) -> ServerSettings:
    return replace(settings, proxies_count=1)


def request(method: bytes, path: bytes, *more: tuple[bytes, bytes]) -> Fields:
    return (
        (b":method", method),
        (b":scheme", b"https"),
        (b":path", path),
        (b":authority", b"127.0.0.1"),
        *more,
    )


def hidden() -> dict[str, tuple[Fields, bytes]]:
    """Requests that a careless translation to HTTP/1.1 makes two of (RFC 9113, 8.2 and 10.3)."""
    bearer = (b"authorization", b"Bearer " + token(1).encode())
    kind = (b"content-type", b"application/json")
    body = b'{"userId":1,"increment":1}'

    def post(*more: tuple[bytes, bytes]) -> Fields:
        return request(b"POST", b"/scores/update", bearer, kind, *more)

    line = b" HTTP/1.1\r\nHost: a\r\n\r\n" + INSIDE
    return {
        "length too short": (post((b"content-length", b"1")), body + INSIDE),
        "length of nothing": (post((b"content-length", b"0")), INSIDE),
        "two lengths": (post((b"content-length", b"26"), (b"content-length", b"0")), body + INSIDE),
        "chunked": (post((b"transfer-encoding", b"chunked")), b"0\r\n\r\n" + INSIDE),
        "line in a value": (
            post((b"x", b"a\r\nTransfer-Encoding: chunked")),
            b"0\r\n\r\n" + INSIDE,
        ),
        "bare LF in a value": (post((b"x", b"a\n\n" + INSIDE)), b""),
        "line in a name": (post((b"x: a\r\ntransfer-encoding", b"chunked")), b"0\r\n\r\n" + INSIDE),
        "colon in a name": (post((b"transfer-encoding:", b"chunked")), b"0\r\n\r\n" + INSIDE),
        "line in the path": (request(b"GET", b"/scores" + line), b""),
        "blank in the path": (request(b"GET", b"/scores HTTP/1.1\r\n\r\n" + INSIDE), b""),
        "line in the method": (request(b"GET /scores" + line, b"/scores"), b""),
        "request as method": (request(b"GET /admin/stats?", b"/scores"), b""),
        "two paths": (request(b"GET", b"/scores", (b":path", b"/admin/stats")), b""),
        "path and old name": (
            request(b"GET", b"/scores", (b"x-original-url", b"/admin/stats")),
            b"",
        ),
        "upgrade": (
            request(b"GET", b"/scores", (b"upgrade", b"h2c"), (b"connection", b"upgrade")),
            b"",
        ),
        "host beside authority": (
            request(b"GET", b"/scores", (b"host", b"b\r\n\r\n" + INSIDE)),
            b"",
        ),
        "dots": (request(b"GET", b"/scores/../admin/stats"), b""),
        "encoded dots": (request(b"GET", b"/scores/%2e%2e/admin/stats"), b""),
        "absolute path": (request(b"GET", b"http://a/admin/stats"), b""),
        "inside": (request(b"GET", b"/admin/stats"), b""),
    }


def is_live(browser: Browser, *scores: str) -> bool:
    assert browser.find("#pill").text == "Live"
    shown = [node.text for node in browser.find_all("#rows .score-number")]
    assert shown == list(scores)
    return True


async def curl(*arguments: str) -> str:
    done = await asyncio.create_subprocess_exec(
        *(program("curl", "curl"), "--silent", "--insecure", "--http2", "--max-time", "10"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await done.communicate()
    return out.decode()


@pytest.mark.parametrize("name", COMMANDS)
async def test_browser_follows_the_board_through_a_documented_proxy_over_both_versions_of_http(
    name: str, settings: ServerSettings, tmp_path: Path, browser: Browser
) -> None:
    identity = Authority(tmp_path, "proxies").issue("front")
    for part in ("plain", "secure"):
        (tmp_path / part).mkdir()
    async with running_api(settings, embedded_worker=True) as behind:
        with (
            running_proxy(name, tmp_path / "plain", upstream=behind.port) as plain,
            running_proxy(
                name, tmp_path / "secure", upstream=behind.port, identity=identity
            ) as secure,
        ):
            url = f"https://127.0.0.1:{secure}"

            async def both_pass() -> None:
                assert "Alice" in await curl(f"http://127.0.0.1:{plain}/scores")
                assert "Alice" in await curl(f"{url}/scores")

            await eventually(lambda: passed(both_pass))
            await asyncio.to_thread(browser.open, f"http://127.0.0.1:{plain}/")
            await asyncio.to_thread(
                eventually_sync, lambda: is_live(browser, "1,500", "1,400"), timeout_s=15
            )
            await asyncio.to_thread(browser.open, f"{url}/")
            answer = await curl(
                *("--write-out", " %{http_version} %{http_code}", f"{url}{contract.UPDATE_PATH}"),
                *("--header", f"Authorization: Bearer {token(1)}"),
                *("--header", "Content-Type: application/json"),
                *("--data", json.dumps({"userId": 1, "increment": 10})),
            )
            await asyncio.to_thread(
                eventually_sync, lambda: is_live(browser, "1,510", "1,400"), timeout_s=15
            )
            links = [str(link.get_attribute("href")) for link in browser.find_all("footer a")]
            protocol = await asyncio.to_thread(browser.driver.execute_async_script, LOOK, STREAMS)
            cases = hidden()
            came = dict(
                zip(
                    cases,
                    await asyncio.gather(*(exchange(secure, *case) for case in cases.values())),
                    strict=True,
                )
            )
            # An answer too many would come to one of these.
            board = request(b"GET", b"/scores")
            good = [(await exchange(secure, board, patience_s=20))[0] for _ in range(10)]

    assert answer.endswith(" 2 202")
    assert protocol == "h2"
    assert links == [f"{url}/docs"]
    assert [data for data in good if b"Alice" not in data] == []
    assert {
        kind: data for kind, (data, _) in came.items() if any(w in data for w in TELLTALES)
    } == {}


async def passed(check: Callable[[], Awaitable[None]]) -> bool:
    await check()
    return True
