"""Who may open an event stream: origin, token, ticket, expiry and limits, over HTTP."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import aiohttp

from scoreboard.tokens import LEEWAY_S, mint
from server.settings import ServerSettings
from tests.support.api import SECRET, Api, running_api, token
from tests.support.eventually import eventually
from tests.support.reserved_ports import reserved_port

GAME = "https://game.example"


async def opened(
    api: Api, *, query: str = "", headers: dict[str, str] | None = None
) -> aiohttp.ClientResponse:
    """The answer to a request for a stream; the caller closes it."""
    return await api.http.get(f"{api.url}/scores/stream{query}", headers=headers)


async def status(api: Api, *, query: str = "", headers: dict[str, str] | None = None) -> int:
    async with await opened(api, query=query, headers=headers) as response:
        return response.status


async def ticket(api: Api, bearer: str, **headers: str) -> tuple[int, Any, Any]:
    headers["Authorization"] = f"Bearer {bearer}"
    async with api.http.post(f"{api.url}/scores/stream/ticket", headers=headers) as response:
        return response.status, await response.json(content_type=None), response.headers


async def test_streams_are_public_by_default(settings: ServerSettings) -> None:
    async with running_api(settings, embedded_worker=True) as api:
        assert await status(api) == 200
        assert await status(api, headers={"Cookie": "theme=dark"}) == 200
        # What is sent must hold; but a browser's cookie is sent unasked.
        assert await status(api, headers={"Authorization": "Bearer nonsense"}) == 401
        assert await status(api, headers={"Cookie": "scoreboard_token=old"}) == 200


async def test_with_compulsory_tokens_a_stream_needs_one_of_three(settings: ServerSettings) -> None:
    required = replace(settings, stream_auth_required=True)
    async with running_api(required, embedded_worker=True) as api:
        for headers in (
            {},
            {"Authorization": "Bearer nonsense"},
            {"Cookie": "scoreboard_token=nonsense"},
            {"Cookie": f"scoreboard_token={token(1)}; scoreboard_token={token(2)}"},
            {"Authorization": token(1)},
        ):
            assert await status(api, headers=headers) == 401, headers
        assert await status(api, query=f"?token={token(1)}") == 401
        assert await status(api, query=f"?access_token={token(1)}") == 401
        assert await status(api, headers={"Authorization": f"Bearer {token(1)}"}) == 200
        assert await status(api, headers={"Cookie": f"a=b; scoreboard_token={token(1)}"}) == 200


async def test_a_ticket_opens_one_stream(settings: ServerSettings) -> None:
    required = replace(settings, stream_auth_required=True)
    async with running_api(required, embedded_worker=True) as api:
        code, body, headers = await ticket(api, token(1))
        query = f"?ticket={body['ticket']}"
        answers = await asyncio.gather(*(status(api, query=query) for _ in range(8)))

        assert (code, body["expiresInS"], headers["cache-control"]) == (200, 30, "no-store")
        assert len(body["ticket"]) >= 32
        assert sorted(answers) == [200] + [401] * 7
        assert await status(api, query="?ticket=") == 401
        assert await status(api, query="?ticket=a&ticket=b") == 400
        both = {"Authorization": f"Bearer {token(1)}"}
        assert await status(api, query="?ticket=a", headers=both) == 400
        assert (await ticket(api, "nonsense"))[0] == 401


async def test_tickets_per_user_are_limited(settings: ServerSettings) -> None:
    async with running_api(settings, embedded_worker=True) as api:
        codes = [(await ticket(api, token(1)))[0] for _ in range(101)]
        code, _, _ = await ticket(api, token(2))

    assert codes == [200] * 100 + [429]
    assert code == 200


async def test_a_stream_ends_when_its_token_expires(settings: ServerSettings) -> None:
    """Also one that was opened with a ticket: it stands for the token."""
    async with running_api(settings, embedded_worker=True) as api:
        # As good as expired, were it not for the leeway.
        issued = int(time.time()) - 100
        bearer = mint(SECRET, subject="1", now_s=issued, ttl_s=97 + LEEWAY_S)
        _, body, _ = await ticket(api, bearer)
        began = time.monotonic()
        async with (
            await opened(api) as anonymous,
            await opened(api, headers={"Authorization": f"Bearer {bearer}"}) as direct,
            await opened(api, query=f"?ticket={body['ticket']}") as with_ticket,
        ):
            ends = await asyncio.wait_for(
                asyncio.gather(direct.content.read(), with_ticket.content.read()), 12
            )
            took_s = time.monotonic() - began
            still_open = not anonymous.content.at_eof()
        again = await status(api, headers={"Authorization": f"Bearer {bearer}"})

    # `read` returned, so the last chunk has come: no client takes this end for a failure.
    assert all(end.endswith(b"\n\nretry: 2000\n\n") for end in ends)
    assert 1 < took_s < 10
    assert still_open
    assert again == 401


async def test_only_pages_of_allowed_origins_may_listen(settings: ServerSettings) -> None:
    allowing = replace(settings, stream_origins=(GAME, "https://other.example"))
    async with running_api(allowing, embedded_worker=True) as api:
        async with await opened(api, headers={"Origin": GAME}) as response:
            assert response.status == 200
            assert response.headers["access-control-allow-origin"] == GAME
            assert response.headers["access-control-allow-credentials"] == "true"
            assert response.headers.getall("vary") == ["accept-encoding, origin"]
        for origin in ("https://evil.example", "null", f"{GAME}.evil.example", ""):
            assert await status(api, headers={"Origin": origin}) == 403, origin
        assert await status(api, headers={"Origin": api.url}) == 200
        # Behind a proxy that rewrites Host, a browser still says that the page is ours.
        own = {"Origin": "https://board.example", "Sec-Fetch-Site": "same-origin"}
        assert await status(api, headers=own) == 200
        assert await status(api, headers=own | {"Sec-Fetch-Site": "cross-site"}) == 403
        assert (await ticket(api, token(1), Origin="https://evil.example"))[0] == 403
        code, _, headers = await ticket(api, token(1), Origin=GAME)
        assert (code, headers["access-control-allow-origin"]) == (200, GAME)
        for path in ("/scores/stream", "/scores/stream/ticket"):
            async with api.http.options(api.url + path, headers={"Origin": GAME}) as preflight:
                assert preflight.status == 204
                assert "authorization" in preflight.headers["access-control-allow-headers"]
            async with api.http.options(api.url + path, headers={"Origin": "null"}) as preflight:
                assert preflight.status == 403


async def test_by_default_foreign_pages_may_not_listen(settings: ServerSettings) -> None:
    async with running_api(settings, embedded_worker=True) as api:
        assert await status(api, headers={"Origin": "https://evil.example"}) == 403
        assert await status(api, headers={"Origin": api.url}) == 200


@asynccontextmanager
async def holding(
    api: Api, count: int, headers: dict[str, str] | None = None
) -> AsyncIterator[list[aiohttp.ClientResponse]]:
    async with AsyncExitStack() as stack:
        responses = [
            await stack.enter_async_context(await opened(api, headers=headers))
            for _ in range(count)
        ]
        assert [response.status for response in responses] == [200] * count
        yield responses


async def test_an_address_has_so_many_streams_whatever_it_says_of_itself(
    settings: ServerSettings,
) -> None:
    limited = replace(settings, streams_per_address=3)
    async with running_api(limited, embedded_worker=True) as api:
        async with holding(api, 3):
            async with await opened(api) as refused:
                body = await refused.json(content_type=None)
            spoofed = await status(api, headers={"X-Forwarded-For": "198.51.100.9"})

        async def room() -> bool:
            return await status(api) == 200

        await eventually(room)

    assert (refused.status, body["code"]) == (429, "too_many_streams")
    assert refused.headers["retry-after"] == "5"
    assert "127.0.0.1" not in str(body)
    assert spoofed == 429


async def test_behind_an_own_proxy_the_client_counts(settings: ServerSettings) -> None:
    limited = replace(settings, streams_per_address=1, proxies_count=1)
    one, other = {"X-Forwarded-For": "9.9.9.9, 198.51.100.1"}, {"X-Forwarded-For": "198.51.100.2"}
    async with running_api(limited, embedded_worker=True) as api, holding(api, 1, one):
        assert await status(api, headers=one) == 429
        assert await status(api, headers={"X-Forwarded-For": "1.1.1.1, 198.51.100.1"}) == 429
        assert await status(api, headers=other) == 200


async def test_one_address_never_takes_the_last_streams(settings: ServerSettings) -> None:
    small = replace(settings, listeners_max=4, proxies_count=1)
    one, two, three = ({"X-Forwarded-For": f"198.51.100.{n}"} for n in (1, 2, 3))
    async with running_api(small, embedded_worker=True) as api:
        async with holding(api, 2, one), await opened(api, headers=one) as refused:
            body = await refused.json(content_type=None)
            async with holding(api, 1, two):
                assert await status(api, headers=two) == 429
                async with holding(api, 1, three):
                    assert await status(api, headers={"X-Forwarded-For": "198.51.100.4"}) == 503

        async def room() -> bool:
            return await status(api, headers=one) == 200

        await eventually(room)
        # A connection of this machine that names no client may be a proxy's: it speaks for all.
        async with holding(api, 4):
            assert await status(api) == 503

    assert (refused.status, body["code"]) == (429, "too_many_streams")


async def test_streams_per_user_are_limited_over_all_processes(settings: ServerSettings) -> None:
    limited = replace(settings, streams_per_user=2)
    bearer = {"Authorization": f"Bearer {token(1)}"}
    cookie = {"Cookie": f"scoreboard_token={token(1, ttl_s=60)}"}
    async with (
        running_api(limited, embedded_worker=True) as one,
        running_api(limited) as two,
        holding(one, 1, bearer),
        holding(two, 1, cookie),
    ):
        assert await status(one, headers=cookie) == 429
        assert await status(two, headers=bearer) == 429
        assert await status(two, headers={"Authorization": f"Bearer {token(2)}"}) == 200
        assert await status(two) == 200


def _environment(settings: ServerSettings, port: int) -> dict[str, str]:
    mysql = settings.mysql
    return {
        **os.environ,
        "SCOREBOARD_MYSQL_URL": (
            f"mysql://{mysql.user}:{mysql.password}@{mysql.host}:{mysql.port}/{mysql.database}"
        ),
        "SCOREBOARD_REDIS_URL": settings.redis,
        "SCOREBOARD_TEMPORAL_ADDRESS": settings.temporal_address,
        "SCOREBOARD_TASK_QUEUE": settings.task_queue,
        "SCOREBOARD_JWT_SECRET": SECRET.decode(),
        "SCOREBOARD_STREAMS_PER_ADDRESS": str(settings.streams_per_address),
        "SCOREBOARD_STREAM_LEASE_S": str(settings.stream_lease_s),
        "SCOREBOARD_PORT": str(port),
    }


async def test_streams_of_a_killed_process_stop_counting(settings: ServerSettings) -> None:
    limited = replace(settings, streams_per_address=2, stream_lease_s=2.0)
    port = reserved_port()
    async with running_api(limited, embedded_worker=True) as living:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server"),
            env=_environment(limited, port),
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            doomed = Api(port, living.http)

            async def ready() -> bool:
                try:
                    return (await doomed.get("/readyz"))[0] == 200
                except aiohttp.ClientError:
                    return False

            await eventually(ready, timeout_s=20)
            with suppress(aiohttp.ClientError):
                async with holding(doomed, 2):
                    before = await status(living)
                    process.send_signal(signal.SIGKILL)
                    await process.wait()
                    right_after = await status(living)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

        async def room() -> bool:
            return await status(living) == 200

        await eventually(room)

    assert (before, right_after) == (429, 429)
