"""Brings the schema to the version that this code needs. Never goes back."""

import importlib.resources
import re
from typing import Any

import pymysql
import structlog

from adapters.mysql import Pool, query_all

log = structlog.get_logger()

LOCK_NAME = "scoreboard.migrations"
LOCK_WAIT_S = 5
TIMEOUT_S = 3600.0
"""Longest a migration may take; changing a large table takes minutes."""

ALREADY_THERE = frozenset({1050, 1060, 1061, 1062, 1091})
"""Table, column, key or row exists, or what is dropped is gone: the statement has run before."""


class MigrationError(Exception):
    """The schema cannot be brought up to date; the message says what stands in the way."""


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
    its statements behind. It is noticed (its row says `applied = 0`) and run again,
    and what says that it is there already is passed over. So every statement of a
    migration must be one that may run twice or fails the second time.
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
    [existing] = await query_all(connection, "SHOW TABLES LIKE 'schema\\_migrations'")
    # Not IF NOT EXISTS: the driver prints the server's note about it at every start.
    if not existing:
        await query_all(
            connection,
            "CREATE TABLE schema_migrations ("
            " version INT NOT NULL PRIMARY KEY, name VARCHAR(64) NOT NULL,"
            " applied TINYINT NOT NULL DEFAULT 0) ENGINE = InnoDB",
        )
    [rows] = await query_all(connection, "SELECT version, applied FROM schema_migrations")
    done = dict(rows)
    known = migrations()
    if done and max(done) > len(known):
        raise MigrationError(f"the database is at version {max(done)}, newer than this program")
    for version, name, sql in known:
        if done.get(version) == 1:
            continue
        if version not in done:
            await query_all(
                connection,
                f"INSERT INTO schema_migrations (version, name) VALUES ({version}, '{name}');"
                " COMMIT",
            )
        for statement in statements(sql):
            await _run(connection, statement, repeated=version in done)
        await query_all(
            connection,
            f"UPDATE schema_migrations SET applied = 1 WHERE version = {version}; COMMIT",
        )
        log.info("migrated", version=version, name=name)
    return len(known)


async def _run(connection: Any, statement: str, *, repeated: bool) -> None:
    try:
        await query_all(connection, statement)
    except pymysql.err.MySQLError as error:
        if not repeated or error.args[0] not in ALREADY_THERE:
            raise


def statements(sql: str) -> list[str]:
    """The statements of a migration; each ends with a semicolon at the end of a line."""
    lines = (line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    parts = re.split(r";\s*$", "\n".join(lines), flags=re.MULTILINE)
    return [part.strip() for part in parts if part.strip()]
