"""The services that every other integration test stands on are real, durable and separate."""

import redis
from temporalio.client import Client

from tests.support.services import mysql_connection


async def test_mysql_is_strict_and_durable_on_every_commit(mysql_url: str) -> None:
    async with mysql_connection(mysql_url) as connection, connection.cursor() as cursor:
        await cursor.execute(
            "SELECT @@innodb_flush_log_at_trx_commit, @@character_set_server, @@sql_mode"
        )
        flush, charset, mode = await cursor.fetchone()

    assert (flush, charset) == (1, "utf8mb4")
    assert "STRICT" in mode


async def test_each_test_gets_an_empty_database(mysql_url: str) -> None:
    async with mysql_connection(mysql_url) as connection, connection.cursor() as cursor:
        await cursor.execute("SHOW TABLES")
        assert await cursor.fetchall() == ()


def test_each_test_gets_an_empty_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


async def test_temporal_serves_its_default_namespace(temporal_client: Client) -> None:
    assert await temporal_client.service_client.check_health()
    assert [w async for w in temporal_client.list_workflows("WorkflowType = 'none'")] == []
