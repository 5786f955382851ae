"""Databases that are not empty before the first migration: adopted, or refused by name."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from adapters.mysql import Pool, query_all
from scoreboard.addresses import mysql_address
from scoreboard.domain import Outcome
from server.backends.mysql import LedgerReader
from tests.support.ledgers import submission
from worker.database.adoption import MigrationError
from worker.database.ledger import Ledger
from worker.database.migrate import migrate, migrations
from worker.failpoints import Failpoints

SPECIFIED = (
    "CREATE TABLE users (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(255) NOT NULL,"
    " score INT DEFAULT 0)"
)
SPECIFIED_INDEX = "CREATE INDEX idx_score ON users(score DESC)"
ROWS = "INSERT INTO users (name, score) VALUES ('Alice', 1500), ('Bob', 1400), ('Nobody', NULL)"


@pytest_asyncio.fixture
async def pool(empty_mysql_url: str) -> AsyncIterator[Pool]:
    opened = Pool(mysql_address(empty_mysql_url), size=2)
    yield opened
    await opened.close()


async def run(pool: Pool, *statements: str) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    async with pool.connection() as connection:
        for statement in statements:
            [rows, *_] = await query_all(connection, statement)
        await connection.commit()
    return rows


async def users_table(pool: Pool) -> str:
    [(_, text)] = await run(pool, "SHOW CREATE TABLE users")
    return str(text).partition(" AUTO_INCREMENT=")[0].partition(") ENGINE")[0]


@pytest.mark.parametrize("index", [[SPECIFIED_INDEX], []])
@pytest.mark.parametrize("engine", ["InnoDB", "MyISAM"])
async def test_the_specified_users_are_adopted_with_their_rows(
    pool: Pool, empty_mysql_url: str, index: list[str], engine: str
) -> None:
    await run(pool, f"{SPECIFIED} ENGINE = {engine} CHARACTER SET latin1", *index, ROWS)

    assert await migrate(pool) == len(migrations())

    recorded = await Ledger(pool, Failpoints("")).record([(submission(1, 10), Outcome.APPLIED)])
    assert [(c.user_id, c.name, c.score) for c in recorded.changes] == [(1, "Alice", 1510)]
    reader = LedgerReader(mysql_address(empty_mysql_url))
    try:
        _, places = await reader.top(10, 0)
    finally:
        await reader.close()
    assert [(place.user, place.score) for place in places] == [
        ("Alice", 1510),
        ("Bob", 1400),
        ("Nobody", 0),
    ]


async def test_adopted_users_have_the_table_that_the_migrations_make(
    pool: Pool, mysql_url: str
) -> None:
    await run(pool, SPECIFIED, SPECIFIED_INDEX)
    await migrate(pool)

    migrated = Pool(mysql_address(mysql_url), size=1)
    try:
        assert await users_table(pool) == await users_table(migrated)
    finally:
        await migrated.close()


async def test_the_users_table_is_the_specified_one(pool: Pool) -> None:
    await migrate(pool)

    table = await users_table(pool)
    assert "`id` bigint(20) NOT NULL AUTO_INCREMENT" in table.replace(
        "bigint NOT", "bigint(20) NOT"
    )
    assert "`name` varchar(255) NOT NULL" in table
    assert "DEFAULT 0" in table.replace("'0'", "0").split("`score`")[1].splitlines()[0]
    assert "PRIMARY KEY (`id`)" in table
    assert "KEY `idx_score` (`score` DESC" in table
    await run(pool, "INSERT INTO users (name) VALUES ('Zed')")
    assert await run(pool, "SELECT id, name, score FROM users") == [(1, "Zed", 0)]


@pytest.mark.parametrize(
    "table",
    [
        "users (id INT PRIMARY KEY, email VARCHAR(255) NOT NULL)",
        "users (id INT PRIMARY KEY, name VARCHAR(255), score INT, email VARCHAR(255) NOT NULL)",
        "users (id CHAR(36) PRIMARY KEY, name VARCHAR(255), score INT)",
        "ledger (id INT PRIMARY KEY)",
        "reviews (id INT PRIMARY KEY, stars INT)",
        "boards (id INT PRIMARY KEY, title TEXT)",
        "log_syncs (id INT PRIMARY KEY)",
        "schema_migrations (version VARCHAR(255) PRIMARY KEY)",
    ],
)
async def test_a_table_of_another_program_is_refused_by_name_and_nothing_is_made(
    pool: Pool, table: str
) -> None:
    await run(pool, f"CREATE TABLE {table}")
    name = table.partition(" ")[0]

    for _ in range(2):
        with pytest.raises(MigrationError, match=f"`{name}`"):
            await migrate(pool)

    assert await run(pool, "SHOW TABLES") == [(name,)]
    await run(pool, f"RENAME TABLE {name} TO theirs")
    assert await migrate(pool) == len(migrations())


async def test_an_index_of_the_name_made_by_hand_is_replaced(pool: Pool) -> None:
    await migrate(pool)
    await run(
        pool,
        "DELETE FROM schema_migrations WHERE version > 4",
        "ALTER TABLE users DROP KEY idx_score",
        SPECIFIED_INDEX,
    )

    await migrate(pool)

    assert "KEY `idx_score` (`score` DESC,`seq`,`id`)" in await users_table(pool)


async def test_a_row_that_cannot_be_held_refuses_the_table_unchanged(pool: Pool) -> None:
    await run(pool, SPECIFIED, "INSERT INTO users (name, score) VALUES ('Below', -3)")
    before = await users_table(pool)

    with pytest.raises(MigrationError, match="score -3"):
        await migrate(pool)

    assert await users_table(pool) == before


async def _poisoned(pool: Pool) -> None:
    """What programs before version 5 left behind on a table of the specification."""
    await migrate(pool)
    await run(
        pool,
        "DROP TABLE users",
        SPECIFIED,
        ROWS,
        "DELETE FROM schema_migrations WHERE version > 4",
        "UPDATE schema_migrations SET applied = 0 WHERE version = 4",
    )


async def test_migrations_an_earlier_program_marked_are_repeated(
    pool: Pool,
) -> None:
    await _poisoned(pool)

    assert await migrate(pool) == len(migrations())

    assert "idx_score" in await users_table(pool)
    assert await run(pool, "SELECT name FROM users WHERE id = 1") == [("Alice",)]


async def test_a_table_renamed_away_is_made_again_before_any_decision(
    pool: Pool,
) -> None:
    await _poisoned(pool)
    await run(pool, "RENAME TABLE users TO old_users")

    assert await migrate(pool) == len(migrations())

    assert "idx_score" in await users_table(pool)


@pytest.mark.parametrize("table", ["users", "ledger", "boards"])
async def test_a_table_that_is_gone_from_a_ledger_in_use_is_named(pool: Pool, table: str) -> None:
    await migrate(pool)
    await run(pool, "INSERT INTO users (name) VALUES ('Alice')")
    await Ledger(pool, Failpoints("")).record([(submission(1, 10), Outcome.APPLIED)])
    await run(pool, f"DROP TABLE {table}")

    with pytest.raises(MigrationError, match=f"`{table}` is gone"):
        await migrate(pool)


async def test_a_name_of_255_characters_passes_through_the_ledger(pool: Pool) -> None:
    name = "🏆" * 255
    await migrate(pool)
    await run(pool, f"INSERT INTO users (name) VALUES ('{name}')")

    recorded = await Ledger(pool, Failpoints("")).record([(submission(1, 10), Outcome.APPLIED)])

    assert recorded.changes[0].name == name
