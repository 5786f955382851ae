"""Brings the schema to the version that this code needs. Never goes back."""

import importlib.resources
import re
from typing import Any

import structlog

from worker.mysql import Pool, query_all

log = structlog.get_logger()

LOCK_NAME = "scoreboard.migrations"
LOCK_WAIT_S = 5


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

    DDL commits by itself in MySQL, so a migration that was cut off is noticed
    (its row says `applied = 0`) and refused instead of being half repeated.
    """
    async with pool.connection() as connection:
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
    await query_all(
        connection,
        "CREATE TABLE IF NOT EXISTS schema_migrations ("
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
        if version in done:
            raise MigrationError(f"migration {version} ({name}) was cut off; restore or finish it")
        await query_all(
            connection,
            f"INSERT INTO schema_migrations (version, name) VALUES ({version}, '{name}'); COMMIT",
        )
        await query_all(connection, _without_comments(sql))
        await query_all(
            connection,
            f"UPDATE schema_migrations SET applied = 1 WHERE version = {version}; COMMIT",
        )
        log.info("migrated", version=version, name=name)
    return len(known)


def _without_comments(sql: str) -> str:
    lines = (line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip().rstrip(";")
