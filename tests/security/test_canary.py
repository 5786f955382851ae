"""Secrets stay secret: after a run with known ones, none of them is in a log, an answer, an
event stream or a workflow's history.

The process is the real one, `python -m stack.api`; it logs every request, and is made to fail.
"""

import asyncio
import base64
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from redis import Redis
from temporalio.client import Client

from scoreboard.signing import SigningKey, sign
from scoreboard.tokens import SCOPE_REVIEW, mint
from tests.security.attack import exchange
from tests.support.addresses import as_user
from tests.support.eventually import eventually
from tests.support.services import Services, execute_sync, mysql_parameters

SUSPICIOUS = 500_000


class Canaries:
    """The secrets of a run, and a search for them in every usual spelling."""

    def __init__(self) -> None:
        self.secrets: dict[str, bytes] = {}

    def add(self, name: str, secret: str | bytes) -> None:
        self.secrets[name] = secret.encode() if isinstance(secret, str) else secret

    def found_in(self, where: str, text: bytes) -> list[str]:
        return [
            f"{name} ({spelling}) in {where}"
            for name, secret in self.secrets.items()
            for spelling, form in (
                ("plain", secret),
                ("base64", base64.b64encode(secret).rstrip(b"=")[:-1]),
                ("hexadecimal", secret.hex().encode()),
            )
            if form in text
        ]


@contextmanager
def database_user(mysql_url: str, password: str) -> Iterator[str]:
    """The same database, for a user with this password."""
    parameters = mysql_parameters(mysql_url)
    name = f"canary_{secrets.token_hex(4)}"
    execute_sync(mysql_url, f"CREATE USER {name}@'%' IDENTIFIED BY '{password}'")
    try:
        execute_sync(mysql_url, f"GRANT ALL ON {parameters['db']}.* TO {name}@'%'")
        yield as_user(mysql_url, name, password)
    finally:
        execute_sync(mysql_url, f"DROP USER {name}@'%'")


@contextmanager
def redis_user(redis_url: str, password: str) -> Iterator[str]:
    """The same Redis, for a user with this password."""
    name = f"canary_{secrets.token_hex(4)}"
    with Redis.from_url(redis_url) as admin:
        admin.acl_setuser(
            name,
            enabled=True,
            passwords=[f"+{password}"],
            keys=["*"],
            channels=["*"],
            commands=["+@all"],
        )
        try:
            yield as_user(redis_url, name, password)
        finally:
            admin.acl_deluser(name)


@asynccontextmanager
async def api_process(environment: dict[str, str]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """The API with a worker, as users run it: its port, and its log as it grows."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stack.api"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    log: list[bytes] = []

    async def read() -> None:
        assert process.stdout
        async for line in process.stdout:
            log.append(line)

    reading = asyncio.create_task(read())

    def port() -> int | None:
        lines = (json.loads(line) for line in list(log) if b'"serving"' in line)
        return next((int(line["port"]) for line in lines), None)

    try:
        yield await eventually(port, timeout_s=30), log
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading


async def histories(client: Client, task_queue: str) -> dict[str, bytes]:
    """Every workflow of the queue, closed or not: its history as Temporal stores it."""
    found = {}
    async for execution in client.list_workflows(f"TaskQueue = '{task_queue}'"):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        history = await handle.fetch_history()
        found[execution.id] = b"".join(event.SerializeToString() for event in history.events)
    return found


async def test_no_secret_is_in_a_log_an_answer_a_stream_or_a_history(
    services: Services,
    mysql_url: str,
    redis_url: str,
    task_queue: str,
    temporal_client: Client,
    tmp_path: Path,
) -> None:
    canaries = Canaries()
    jwt_secret = f"canary-jwt-{secrets.token_hex(24)}"
    hmac_secret = secrets.token_bytes(32)
    password = f"canary-mysql-{secrets.token_hex(12)}"
    redis_password = f"canary-redis-{secrets.token_hex(12)}"
    now_s = int(time.time())
    bearer = mint(
        jwt_secret.encode(), subject="1", now_s=now_s, ttl_s=600, scopes=("scores:write:any",)
    )
    reviewer = mint(
        jwt_secret.encode(), subject="rita", now_s=now_s, ttl_s=600, scopes=(SCOPE_REVIEW,)
    )
    expired = mint(jwt_secret.encode(), subject="1", now_s=now_s - 900, ttl_s=60)
    named: list[tuple[str, str | bytes]] = [
        ("JWT secret", jwt_secret),
        ("signing key", hmac_secret),
        ("signing key as configured", base64.b64encode(hmac_secret)),
        ("MySQL password", password),
        ("Redis password", redis_password),
        *(
            (f"{name} token", text.rpartition(".")[2])
            for name, text in (
                ("good", bearer),
                ("reviewer's", reviewer),
                ("expired", expired),
            )
        ),
    ]
    for name, secret in named:
        canaries.add(name, secret)
    keys = tmp_path / "keys.json"
    entry = {
        "id": "game",
        "algorithm": "hmac-sha256",
        "key": base64.b64encode(hmac_secret).decode(),
        "subjects": ["*"],
    }
    keys.write_text(json.dumps({"keys": [entry]}))
    key = SigningKey(id="game", algorithm="hmac-sha256", material=hmac_secret)
    answers: list[bytes] = []

    with (
        database_user(mysql_url, password) as database,
        redis_user(redis_url, redis_password) as place,
    ):
        environment = {
            **os.environ,
            "SCOREBOARD_MYSQL_URL": database,
            "SCOREBOARD_REDIS_URL": place,
            "SCOREBOARD_TEMPORAL_ADDRESS": services.temporal_address,
            "SCOREBOARD_TASK_QUEUE": task_queue,
            "SCOREBOARD_JWT_SECRET": jwt_secret,
            "SCOREBOARD_SIGNATURE_KEYS": str(keys),
            "SCOREBOARD_LOG_REQUESTS": "true",
            "SCOREBOARD_PORT": "0",
        }
        async with (
            api_process(environment) as (port, log),
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as http,
        ):
            url = f"http://127.0.0.1:{port}"

            async def ask(method: str, path: str, token: str = "", **options: Any) -> bytes:
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                headers |= options.pop("headers", {})
                async with http.request(
                    method,
                    url + path,
                    headers=headers,
                    **options,
                ) as response:
                    raw = b"".join(n + b": " + v + b"\n" for n, v in response.raw_headers)
                    return raw + await response.read()

            async def ready() -> bool:
                return b'"ready"' in await ask("GET", "/readyz")

            await eventually(ready, timeout_s=20)
            execute_sync(mysql_url, "INSERT INTO users (id, name, score) VALUES (1, 'Ann', 5)")
            body = b'{"userId":1,"increment":1}'
            signed = sign(
                method="POST",
                url=f"{url}/scores/update",
                headers={"Content-Type": "application/json"},
                body=body,
                key=key,
                created_s=now_s,
                nonce="n-1",
            )
            update = {"method": "POST", "path": "/scores/update"}
            for increment in (1, SUSPICIOUS):
                answers.append(
                    await ask(**update, token=bearer, json={"userId": 1, "increment": increment})
                )
            submission_id = json.loads(answers[0].rpartition(b"\n")[2])["submissionId"]
            answers += [
                await ask(**update, token=bearer, data=body, headers=signed),
                await ask(**update, token=bearer, data=body + b" ", headers=signed),
                await ask(**update, token=expired, json={"userId": 1, "increment": 1}),
                await ask(**update, token=bearer, data=b"{"),
                await ask("POST", "/scores/updates", bearer, json=[{"userId": 1, "increment": 2}]),
                await ask("GET", f"/scores/updates/{submission_id}", bearer),
                await ask("GET", f"/nothing?token={bearer}"),
                await ask("GET", f"/scores?limit={bearer}"),
                await ask("GET", f"/scores/users/{bearer}"),
                await ask("GET", f"/scores/updates/{bearer}", bearer),
                await ask("GET", "/admin/reviews", bearer),
                await ask("GET", "/metrics"),
                await ask("GET", "/admin/stats"),
                await exchange(port, b"GET /%b HTTP/1.1\r\nHost : a\r\n\r\n" % bearer.encode()),
            ]

            async def case() -> bytes | None:
                found = await ask("GET", "/admin/reviews", reviewer)
                return found if b"large_increment" in found else None

            listed = await eventually(case)
            [held] = json.loads(listed.rpartition(b"\n")[2])
            decision = f"/admin/reviews/{held['submissionId']}"

            async def decided() -> bytes | None:
                found = await ask("POST", decision, reviewer, json={"decision": "approve"})
                return found if b"applied" in found else None

            answers += [listed, await eventually(decided)]
            # The one answer that may hold a ticket is the one that issues it.
            issued = await ask("POST", "/scores/stream/ticket", bearer)
            ticket = json.loads(issued.rpartition(b"\n")[2])["ticket"]
            canaries.add("ticket", ticket)
            async with http.get(f"{url}/scores/stream?ticket={ticket}&lastEventId=0") as stream:
                assert stream.status == 200
                answers.append(await stream.content.readuntil(b"event: update"))
            answers.append(await ask("GET", f"/scores/stream?ticket={ticket}"))
            # MySQL refuses the process from here on; what that makes it log counts too.
            execute_sync(
                mysql_url,
                f"ALTER USER {urlsplit(database).username}@'%' IDENTIFIED BY 'other'",
            )
            for (thread,) in execute_sync(
                mysql_url,
                "SELECT id FROM information_schema.processlist"
                f" WHERE user = '{urlsplit(database).username}'",
            ):
                execute_sync(mysql_url, f"KILL {thread}")

            async def away() -> bool:
                return b"mysql" in await ask("GET", "/readyz")

            await eventually(away)
            answers.append(await ask(**update, token=bearer, data=body))
        written = await histories(temporal_client, task_queue)

    everything = {
        "the log": b"".join(log),
        **{f"answer {number}": answer for number, answer in enumerate(answers)},
        **written,
    }
    found = [hit for where, text in everything.items() for hit in canaries.found_in(where, text)]

    assert found == []
    # The search would have found something: each place holds what it should.
    assert submission_id.encode() in everything["the log"]
    assert all(json.loads(line)["event"] for line in log)
    assert any(bytes.fromhex(submission_id.replace("-", "")) in text for text in written.values())
    assert {name.partition("-")[0] for name in written} >= {"lane", "batch", "review"}
    probe = Canaries()
    probe.add("probe", "accepted")
    assert probe.found_in("the log", everything["the log"])
