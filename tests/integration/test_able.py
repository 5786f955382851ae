"""Ready means able: services that answer and do not do the work make the API unready, and the logs
say what they said.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
import redis as sync_redis
from google.protobuf.duration_pb2 import Duration
from structlog.testing import capture_logs
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client

from adapters.mysql import Pool, query_all
from scoreboard.addresses import mysql_address
from server.settings import ServerSettings
from tests.support.addresses import as_user
from tests.support.api import Api, running_api, wait_until_ready
from tests.support.eventually import eventually
from tests.support.services import execute_sync


@pytest_asyncio.fixture
async def api(settings: ServerSettings) -> AsyncIterator[Api]:
    async with running_api(settings, embedded_worker=True) as running:
        # A worker that still starts would apply the migration that a test takes away.
        assert (await running.submit(2, 1))[0] == 202
        await eventually(lambda: _worked(running))
        yield running


async def _worked(api: Api) -> bool:
    return 1401 in [line["score"] for line in await api.scores()]


async def parts(api: Api) -> list[str]:
    _, body, _ = await api.get("/readyz")
    return list(body.get("parts", ()))


async def up(api: Api, service: str) -> bool:
    _, body, _ = await api.get("/admin/stats")
    return bool(body["services"][service])


def replica(redis_url: str, mysql_url: str) -> Callable[[], None]:
    del mysql_url
    client = sync_redis.Redis.from_url(redis_url)
    client.replicaof("127.0.0.1", 1)

    def undo() -> None:
        client.replicaof("NO", "ONE")
        client.close()

    return undo


def full(redis_url: str, mysql_url: str) -> Callable[[], None]:
    del mysql_url
    client = sync_redis.Redis.from_url(redis_url)
    client.config_set("maxmemory", 1)

    def undo() -> None:
        client.config_set("maxmemory", 0)
        client.close()

    return undo


def read_only(redis_url: str, mysql_url: str) -> Callable[[], None]:
    del redis_url
    execute_sync(mysql_url, "SET GLOBAL read_only = 1")

    def undo() -> None:
        execute_sync(mysql_url, "SET GLOBAL read_only = 0")

    return undo


def other_schema(redis_url: str, mysql_url: str) -> Callable[[], None]:
    del redis_url
    execute_sync(mysql_url, "UPDATE schema_migrations SET applied = 0 WHERE version = 6")

    def undo() -> None:
        execute_sync(mysql_url, "UPDATE schema_migrations SET applied = 1")

    return undo


@contextmanager
def broken(
    how: Callable[[str, str], Callable[[], None]], redis_url: str, mysql_url: str
) -> Iterator[None]:
    undo = how(redis_url, mysql_url)
    try:
        yield
    finally:
        undo()


@pytest.mark.parametrize(
    ("how", "service", "words"),
    [
        (replica, "redis", "read only replica"),
        (full, "redis", "maxmemory"),
        (read_only, "mysql", "1290 the server is read-only"),
        (other_schema, "mysql", "lacks migration 6"),
    ],
)
async def test_a_service_that_cannot_work_makes_the_api_unready(
    api: Api,
    redis_url: str,
    mysql_url: str,
    how: Callable[[str, str], Callable[[], None]],
    service: str,
    words: str,
) -> None:
    with capture_logs() as logs:
        with broken(how, redis_url, mysql_url):
            await eventually(lambda: _is_away(api, service))
            status, problem = await api.submit(1, 10)
            assert not await up(api, service)
        await wait_until_ready(api)

    assert (status, problem["code"]) == (503, "unavailable")
    reasons = [e["error"] for e in logs if e["event"] == "service_unavailable"]
    assert any(words in reason for reason in reasons), reasons
    assert (await api.submit(1, 10))[0] == 202


async def _is_away(api: Api, service: str) -> bool:
    return service in await parts(api)


async def test_a_pooled_connection_is_dropped_when_its_server_becomes_read_only(
    mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.mysql.CHECK_INTERVAL_S", 0.0)
    pool = Pool(mysql_address(mysql_url), size=1)
    try:
        before = await _connection_id(pool)
        assert await _connection_id(pool) == before
        execute_sync(mysql_url, "SET GLOBAL read_only = 1")
        try:
            with pytest.raises(Exception, match="read-only"):
                await _connection_id(pool)
        finally:
            execute_sync(mysql_url, "SET GLOBAL read_only = 0")
        assert await _connection_id(pool) != before
    finally:
        await pool.close()


async def test_a_connection_has_a_longest_life(
    mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.mysql.LIFETIME_S", 0.0)
    pool = Pool(mysql_address(mysql_url), size=1)
    try:
        assert await _connection_id(pool) != await _connection_id(pool)
    finally:
        await pool.close()


async def _connection_id(pool: Pool) -> int:
    async with pool.connection() as connection:
        [[(number,)]] = await query_all(connection, "SELECT CONNECTION_ID()")
    return int(number)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("password", "1045 Access denied for user"),
        ("database", "1049 Unknown database 'wrong'"),
    ],
)
async def test_logs_carry_the_servers_words_and_no_password(
    settings: ServerSettings, change: str, words: str
) -> None:

    changed = (
        replace(settings.mysql, password="wrong")
        if change == "password"
        else replace(settings.mysql, database="wrong")
    )
    wrong = replace(settings, mysql=changed)
    with capture_logs() as logs:
        async with running_api(wrong, embedded_worker=True, ready=False, prepare=False):
            await eventually(lambda: any("waiting_for_mysql" in e["event"] for e in logs))

    [error] = {entry["error"] for entry in logs if entry["event"] == "waiting_for_mysql"}
    assert words in error
    assert change == "database" or "wrong" not in error


async def test_a_namespace_that_appears_later_is_waited_for(
    settings: ServerSettings, temporal_client: Client
) -> None:

    name = f"later-{secrets.token_hex(4)}"
    later = replace(settings, temporal_namespace=name)
    with capture_logs() as logs:
        async with running_api(later, embedded_worker=True, ready=False) as api:
            await eventually(lambda: any(e["event"] == "waiting_for_temporal" for e in logs))

            async def only_temporal() -> bool:
                return await parts(api) == ["temporal"]

            await eventually(only_temporal)
            period = Duration()
            period.FromTimedelta(timedelta(days=1))
            await temporal_client.workflow_service.register_namespace(
                RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=period)
            )
            await wait_until_ready(api, timeout_s=40)
            assert (await api.submit(1, 10))[0] == 202

    assert any(name in str(entry.get("error")) for entry in logs)


async def test_a_redis_user_without_the_channel_costs_no_submission(
    settings: ServerSettings, redis_url: str
) -> None:
    """The default of `ACL SETUSER` since Redis 7 grants no channel."""

    with sync_redis.Redis.from_url(redis_url) as admin:
        admin.acl_setuser("app", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all"])
        admin.execute_command("ACL", "SETUSER", "app", "resetchannels")
        try:
            url = as_user(redis_url, "app", "pw")
            with capture_logs() as logs:
                async with running_api(
                    replace(settings, redis=url, batches_unfinished=4, batches_running=4),
                    embedded_worker=True,
                ) as api:
                    statuses = [(await api.submit(1, 1))[0] for _ in range(40)]
                    await eventually(lambda: _score(api, 1540))
        finally:
            admin.acl_deluser("app")

    assert statuses == [202] * 40
    events = {entry["event"] for entry in logs}
    assert {"announcements_unheard", "announcement_lost"} <= events


async def _score(api: Api, score: int) -> bool:
    return bool((await api.scores())[0]["score"] == score)


async def test_accepted_work_that_nobody_decides_is_a_metric_and_logged(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.submit.backlog.INTERVAL_S", 0.2)
    monkeypatch.setattr("server.submit.backlog.OLD_S", 1.0)
    with capture_logs() as logs:
        async with running_api(settings) as api:
            assert (await api.submit(1, 1))[0] == 202
            await eventually(lambda: _undecided(api, 2.0), timeout_s=20)
            await eventually(lambda: any(e["event"] == "submissions_undecided" for e in logs))

    assert any(entry["event"] == "queue_not_polled" for entry in logs)


async def _undecided(api: Api, least_s: float) -> bool:
    _, stats, _ = await api.get("/admin/stats")
    gauges: dict[str, Any] = stats["gauges"]
    return bool(gauges["undecidedAgeS"] >= least_s and gauges["queuePolled"] is False)
