"""Migrations and demonstration users on a real database: repeated, at once, and cut off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pymysql
import pytest
import pytest_asyncio

from adapters.mysql import Pool, query_all
from scoreboard.addresses import mysql_address
from tests.support.ledgers import opened_ledger, submission
from worker.database import migrate as migration
from worker.database.adoption import MigrationError
from worker.database.migrate import migrate, migrations, statements
from worker.database.seed import seed

TABLES = {"boards", "ledger", "schema_migrations", "users"}


@pytest.fixture
def mysql_url(empty_mysql_url: str) -> str:
    """Without tables, unlike that of other tests: those here make them."""
    return empty_mysql_url


@pytest_asyncio.fixture
async def pool(mysql_url: str) -> AsyncIterator[Pool]:
    opened = Pool(mysql_address(mysql_url), size=2)
    yield opened
    await opened.close()


async def run(pool: Pool, sql: str) -> list[tuple[object, ...]]:
    async with pool.connection() as connection:
        [rows, *_] = await query_all(connection, sql)
        await connection.commit()
    return rows


async def test_an_empty_database_gets_the_newest_schema(pool: Pool) -> None:
    version = await migrate(pool)

    assert version == len(migrations())
    assert {name for (name,) in await run(pool, "SHOW TABLES")} >= TABLES
    assert await run(pool, "SELECT id, seq FROM boards") == [(1, 0)]


async def test_migrating_again_changes_nothing(pool: Pool) -> None:
    await migrate(pool)
    before = await run(pool, "SELECT incarnation FROM boards")

    assert await migrate(pool) == len(migrations())
    assert await run(pool, "SELECT incarnation FROM boards") == before


async def test_workers_that_start_together_migrate_once(mysql_url: str) -> None:
    pools = [Pool(mysql_address(mysql_url), size=1) for _ in range(5)]
    try:
        versions = await asyncio.gather(*(migrate(pool) for pool in pools))

        assert set(versions) == {len(migrations())}
        assert await run(pools[0], "SELECT COUNT(*) FROM boards") == [(1,)]
    finally:
        await asyncio.gather(*(pool.close() for pool in pools))


async def test_a_lock_held_elsewhere_is_waited_for_and_then_reported(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "LOCK_WAIT_S", 0)
    async with pool.connection() as holder:
        await query_all(holder, f"SELECT GET_LOCK('{migration.LOCK_NAME}', 5)")

        with pytest.raises(TimeoutError):
            await migrate(pool)

        await query_all(holder, f"SELECT RELEASE_LOCK('{migration.LOCK_NAME}')")
    assert await migrate(pool) == len(migrations())


@pytest.mark.parametrize("oldest", ["NULL", "9999"])
async def test_a_newer_database_that_this_program_does_not_fit_is_left_alone(
    pool: Pool, oldest: str
) -> None:
    await migrate(pool)
    await run(pool, f"INSERT INTO schema_migrations VALUES (9999, 'future', 1, {oldest})")

    with pytest.raises(MigrationError, match="9999"):
        await migrate(pool)


@pytest.mark.parametrize("applied", [0, 1])
async def test_a_newer_schema_that_admits_this_program_is_accepted(
    pool: Pool, applied: int
) -> None:
    """After a rollback by one release, and while a newer worker migrates."""
    version = await migrate(pool)
    await run(
        pool,
        "INSERT INTO schema_migrations (version, name, applied, oldest_program)"
        f" VALUES ({version + 1}, 'future', {applied}, {version})",
    )

    assert await migrate(pool) == version + 1


async def test_the_earlier_schema_is_reached_by_forgetting_later_steps(
    pool: Pool,
) -> None:
    """docs/runbooks/bad-release.md: its programs look at the numbers alone."""
    version = await migrate(pool)
    whole = await _schema(pool)

    await run(pool, "DELETE FROM schema_migrations WHERE version > 4")

    assert await migrate(pool) == version
    assert await _schema(pool) == whole


SIZES = [
    (version, done) for version, _, sql in migrations() for done in range(len(statements(sql)))
]


@pytest.mark.parametrize(("version", "done"), SIZES)
async def test_a_migration_that_was_cut_off_is_finished(
    pool: Pool, version: int, done: int
) -> None:
    """As after kill -9: some statements of `version` have run, its row says that it began."""
    await migrate(pool)
    whole = await _schema(pool)
    names = ", ".join(f"`{name}`" for name in whole)
    await run(pool, f"DROP TABLE {names}")
    earlier = [item for item in migrations() if item[0] <= version]
    await run(
        pool,
        "CREATE TABLE schema_migrations (version INT NOT NULL PRIMARY KEY,"
        " name VARCHAR(64) NOT NULL, applied TINYINT NOT NULL DEFAULT 0)",
    )
    for number, name, sql in earlier:
        stop = done if number == version else None
        for statement in statements(sql)[:stop]:
            with suppress(pymysql.err.MySQLError):  # Statements that drop what is not there.
                await run(pool, statement)
        state = int(number != version)
        await run(pool, f"INSERT INTO schema_migrations VALUES ({number}, '{name}', {state})")

    assert await migrate(pool) == len(migrations())

    assert await _schema(pool) == whole
    assert await run(pool, "SELECT id, seq FROM boards") == [(1, 0)]


async def test_a_migration_that_is_wrong_is_not_passed_over(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(pool)
    wrong = [*migrations(), (len(migrations()) + 1, "wrong", "ALTER TABLE nowhere ADD c INT;\n")]
    monkeypatch.setattr(migration, "migrations", lambda: wrong)

    for _ in range(2):
        with pytest.raises(Exception, match="nowhere"):
            await migrate(pool)


async def test_the_demonstration_has_alice_and_bob(pool: Pool) -> None:
    await migrate(pool)

    assert await seed(pool, 0) == 2
    assert await run(pool, "SELECT id, name, score, seq FROM users ORDER BY id") == [
        (1, "Alice", 1500, 0),
        (2, "Bob", 1400, 0),
    ]


async def test_a_new_user_has_the_room_that_the_first_change_needs(mysql_url: str) -> None:
    async with opened_ledger(mysql_url, users=2) as bench:
        await bench.record(submission(1, 10))

        assert await bench.rows("SELECT LENGTH(recent_increments) FROM users") == [(16,), (16,)]


async def test_seeding_again_adds_only_missing_users(mysql_url: str) -> None:
    async with opened_ledger(mysql_url, users=2) as bench:
        await bench.record(submission(1, 10))

        assert await seed(bench.pool, 5001) == 4999
        assert await seed(bench.pool, 5001) == 0
        assert await bench.rows("SELECT name, score FROM users WHERE id IN (1, 3, 5001)") == [
            ("Alice", 1510),
            ("User00003", 0),
            ("User05001", 0),
        ]


async def test_seeding_twice_at_once_adds_each_user_once(mysql_url: str) -> None:
    async with opened_ledger(mysql_url, users=2) as one, opened_ledger(mysql_url, users=2) as two:
        await asyncio.gather(seed(one.pool, 3000), seed(two.pool, 3000))

        assert await one.rows("SELECT COUNT(*) FROM users") == [(3000,)]


async def _schema(pool: Pool) -> dict[str, str]:
    tables = [str(name) for (name,) in await run(pool, "SHOW TABLES")]
    created = {name: (await run(pool, f"SHOW CREATE TABLE `{name}`"))[0][1] for name in tables}
    return {name: str(text) for name, text in created.items() if name != "schema_migrations"} | {
        "schema_migrations": ""
    }
