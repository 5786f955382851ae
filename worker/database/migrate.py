"""Brings the schema to the version that this code needs. Never goes back.

Each migration names the oldest program that may run on what it leaves behind (`-- oldest
program: N`, N being the last migration that program knows). The database keeps it, so that a
program may start on the newer schema of the release after it.
"""

import importlib.resources
import re
from collections import ChainMap
from typing import Any

import pymysql
import structlog

from adapters.mysql import Pool, query_all
from adapters.schema import newer_fault
from worker.database.adoption import MigrationError, columns_of, made_tables, prepare

log = structlog.get_logger()

LOCK_NAME = "scoreboard.migrations"
LOCK_WAIT_S = 5
TIMEOUT_S = 3600.0
"""Longest a migration may take; changing a large table takes minutes."""

ALREADY_THERE = frozenset({1050, 1060, 1061, 1062, 1091})
"""Table, column, key or row exists, or what is dropped is gone: the statement has run before,
since `prepare` lets no table of another program pass."""

_OLDEST = re.compile(r"^-- oldest program: (\d+)$", re.MULTILINE)


def migrations() -> list[tuple[int, str, str]]:
    """All migrations as (version, name, SQL), in order; versions are 1, 2, 3 …"""
    found = []
    for file in importlib.resources.files("worker.migrations").iterdir():
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name)
        if match:
            found.append((int(match[1]), match[2], file.read_text("utf-8")))
    found.sort()
    assert [version for version, _, _ in found] == list(range(1, len(found) + 1))
    return found


async def migrate(pool: Pool) -> int:
    """Apply what is missing, under a lock that all workers share; the version reached.

    DDL commits by itself in MySQL, so a migration that is cut off leaves some of
    its statements behind. Its row says `applied = 0`, so it is run again, and what is
    there already is passed over. So every statement of a migration must be one that
    may run twice or fails the second time.
    """
    async with pool.connection(timeout_s=TIMEOUT_S) as connection:
        [[(granted,)]] = await query_all(
            connection, f"SELECT GET_LOCK('{LOCK_NAME}', {LOCK_WAIT_S})"
        )
        if granted != 1:
            raise TimeoutError("another worker holds the migration lock")
        try:
            return await _apply_missing(connection)
        finally:
            await query_all(connection, f"SELECT RELEASE_LOCK('{LOCK_NAME}')")


async def _apply_missing(connection: Any) -> int:
    known = migrations()
    done = await _done(connection)
    if done is not None:
        fault = newer_fault({version: oldest for version, (_, oldest) in done.items()}, len(known))
        if fault is not None:
            raise MigrationError(fault)
    made = {version: made_tables(statements(sql)) for version, _, sql in known}
    expected = [
        name for v, tables in made.items() if done and v in done and done[v][0] for name in tables
    ]
    # Before anything is marked as done.
    repeat_all = await prepare(connection, ChainMap(*made.values()), expected)
    if done is None:
        await query_all(
            connection,
            # Not IF NOT EXISTS: the driver prints the server's note about it at every start.
            "CREATE TABLE schema_migrations ("
            " version INT NOT NULL PRIMARY KEY, name VARCHAR(64) NOT NULL,"
            " applied TINYINT NOT NULL DEFAULT 0, oldest_program INT NULL) ENGINE = InnoDB",
        )
    done = done or {}
    for version, name, sql in known:
        if version in done and done[version][0] and not repeat_all:
            continue
        if version not in done:
            await query_all(
                connection,
                "INSERT INTO schema_migrations (version, name, oldest_program)"
                f" VALUES ({version}, '{name}', {oldest_program(sql) or 'NULL'}); COMMIT",
            )
        for statement in statements(sql):
            await _run(connection, statement)
        await query_all(
            connection,
            f"UPDATE schema_migrations SET applied = 1 WHERE version = {version}; COMMIT",
        )
        log.info("migrated", version=version, name=name)
    return max([len(known), *done])


async def _done(connection: Any) -> dict[int, tuple[int, int | None]] | None:
    """Whether each version is applied, and the oldest program that may run on it; None without
    the table. Raises MigrationError when the table is another program's."""
    columns = (await columns_of(connection, ["schema_migrations"])).get("schema_migrations")
    if columns is None:
        return None
    if not {"version", "name", "applied"} <= columns.keys():
        raise MigrationError(
            "table `schema_migrations` was not made by this program (it has"
            f" {', '.join(columns)}): give the program a database of its own"
        )
    if "oldest_program" not in columns:
        await query_all(
            connection, "ALTER TABLE schema_migrations ADD COLUMN oldest_program INT NULL"
        )
    [rows] = await query_all(
        connection, "SELECT version, applied, oldest_program FROM schema_migrations"
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def oldest_program(sql: str) -> int | None:
    """The last migration that the oldest program knows which may run after this one."""
    match = _OLDEST.search(sql)
    return int(match[1]) if match else None


async def _run(connection: Any, statement: str) -> None:
    try:
        await query_all(connection, statement)
    except pymysql.err.MySQLError as error:
        if error.args[0] not in ALREADY_THERE:
            raise


def statements(sql: str) -> list[str]:
    """The statements of a migration; each ends with a semicolon at the end of a line."""
    lines = (line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    parts = re.split(r";\s*$", "\n".join(lines), flags=re.MULTILINE)
    return [part.strip() for part in parts if part.strip()]
