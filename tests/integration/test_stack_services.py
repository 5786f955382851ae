"""The services that every other integration test stands on are real, durable and separate."""

import redis
from temporalio.client import Client

from tests.support.databases import Databases
from tests.support.services import execute_sync, mysql_connection


async def test_mysql_is_strict_and_durable_on_every_commit(mysql_url: str) -> None:
    async with mysql_connection(mysql_url) as connection, connection.cursor() as cursor:
        await cursor.execute(
            "SELECT @@innodb_flush_log_at_trx_commit, @@character_set_server, @@sql_mode"
        )
        flush, charset, mode = await cursor.fetchone()

    assert (flush, charset) == (1, "utf8mb4")
    assert "STRICT" in mode


async def test_each_test_gets_a_database_without_users(mysql_url: str) -> None:
    async with mysql_connection(mysql_url) as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT (SELECT COUNT(*) FROM users), (SELECT seq FROM boards)")
        assert await cursor.fetchall() == ((0, 0),)


async def test_a_test_of_migrations_gets_a_database_without_tables(empty_mysql_url: str) -> None:
    async with mysql_connection(empty_mysql_url) as connection, connection.cursor() as cursor:
        await cursor.execute("SHOW TABLES")
        assert await cursor.fetchall() == ()


def test_a_database_is_lent_again_as_the_migrations_left_it(databases: Databases) -> None:
    with databases.lent() as first:
        execute_sync(first, "INSERT INTO users (id, name) VALUES (1, 'Alice')")
        execute_sync(first, "UPDATE boards SET seq = 7")
        [[incarnation]] = execute_sync(first, "SELECT incarnation FROM boards")

    with databases.lent() as second:
        assert second == first
        assert execute_sync(second, "SELECT COUNT(*) FROM users") == ((0,),)
        [[seq, renewed]] = execute_sync(second, "SELECT seq, incarnation FROM boards")
        assert seq == 0
        assert renewed != incarnation


def test_a_database_with_another_schema_is_not_lent_again(databases: Databases) -> None:
    with databases.lent() as first:
        execute_sync(first, "ALTER TABLE users ADD COLUMN extra INT")

    with databases.lent() as second:
        assert second != first


def test_each_test_gets_an_empty_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


async def test_temporal_serves_its_default_namespace(temporal_client: Client) -> None:
    assert await temporal_client.service_client.check_health()
    assert [w async for w in temporal_client.list_workflows("WorkflowType = 'none'")] == []
