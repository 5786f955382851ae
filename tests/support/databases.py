"""Migrated databases for tests, lent to one test at a time.

Creating, migrating and dropping a database takes MySQL 90 ms; emptying five tables takes it 5. So
a database that comes back with the schema it left with is emptied and lent again, and any other
is dropped. Not for tests of the migrations themselves: see `services.fresh_database`.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from adapters.mysql import Pool
from scoreboard.addresses import mysql_address
from tests.support.services import (
    create_database,
    cursor_sync,
    drop_database,
    end_connections,
    mysql_parameters,
)
from worker.database.migrate import migrate

_COUNTER = re.compile(r" AUTO_INCREMENT=\d+")


class Databases:
    """The databases of one server. Not for several threads."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._template = ""
        self._schema: dict[str, str] = {}
        self._idle: list[str] = []

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The URL of a database that is as the migrations leave it, a new incarnation apart."""
        if not self._template:
            self._template = self._migrated()
            with cursor_sync(self._template) as cursor:
                self._schema = _schema(cursor)
        url = self._idle.pop() if self._idle else self._migrated()
        try:
            yield url
        finally:
            end_connections(url)
            if self._emptied(url):
                self._idle.append(url)
            else:
                drop_database(url)

    def close(self) -> None:
        """Drops all of them."""
        for url in filter(None, (self._template, *self._idle)):
            end_connections(url)
            drop_database(url)

    def _migrated(self) -> str:
        url = create_database(self._server_url)

        async def run() -> None:
            pool = Pool(mysql_address(url), size=1)
            try:
                await migrate(pool)
            finally:
                await pool.close()

        asyncio.run(run())
        return url

    def _emptied(self, url: str) -> bool:
        """Whether the database could be put back as the migrations left it."""
        template = _name(self._template)
        with cursor_sync(url) as cursor:
            if _schema(cursor) != self._schema:
                return False
            cursor.execute("SHOW CREATE TABLE users")
            counted = _COUNTER.search(cursor.fetchone()[1])
            for table in self._schema:
                cursor.execute(f"DELETE FROM {table}")
                cursor.execute(f"INSERT INTO {table} SELECT * FROM {template}.{table}")
            if counted:
                # The next user without an id is the first one again.
                cursor.execute("ALTER TABLE users AUTO_INCREMENT = 1")
            # Redis and clients tell one history from another by it.
            cursor.execute("UPDATE boards SET incarnation = UUID()")
        return True


def _name(url: str) -> str:
    return str(mysql_parameters(url)["db"])


def _schema(cursor: Any) -> dict[str, str]:
    """What makes each table, by its name."""
    cursor.execute("SHOW TABLES")
    tables = [name for (name,) in cursor.fetchall()]
    found = {}
    for table in tables:
        cursor.execute(f"SHOW CREATE TABLE {table}")
        found[table] = _COUNTER.sub("", str(cursor.fetchone()[1]))
    return found
