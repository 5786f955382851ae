"""Tables that were here before the migrations: adopts the specification's, refuses all others.

Not the migrations themselves: see `migrate`. Nothing is marked as done before `prepare` returns.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import structlog

from adapters.mysql import query_all

log = structlog.get_logger()

SPECIFIED_COLUMNS = {
    "id": frozenset({"int", "bigint"}),
    "name": frozenset({"varchar"}),
    "score": frozenset({"int", "bigint"}),
}
"""The columns of the specification's `users`, and the types that they may have."""

_CREATE_TABLE = re.compile(r"CREATE TABLE (\w+) \((.*)\) ENGINE", re.DOTALL)
_NO_COLUMN = {"CONSTRAINT", "KEY", "UNIQUE", "PRIMARY", "--"}

# As the migrations leave it; those that run afterwards find it made.
_ADOPT = (
    "UPDATE users SET score = 0 WHERE score IS NULL; COMMIT;"
    " ALTER TABLE users CONVERT TO CHARACTER SET utf8mb4,"
    " MODIFY id BIGINT NOT NULL AUTO_INCREMENT,"
    " MODIFY name VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,"
    " MODIFY score BIGINT NOT NULL DEFAULT 0,"
    " ADD seq BIGINT NOT NULL DEFAULT 0,"
    " ADD window_start_s BIGINT NOT NULL DEFAULT 0,"
    " ADD window_points BIGINT NOT NULL DEFAULT 0,"
    " ADD recent_increments VARBINARY(64) NOT NULL"
    " DEFAULT x'00000000000000000000000000000000',"
    " ADD CONSTRAINT users_score_range CHECK (score BETWEEN 0 AND 9007199254740991),"
    " ADD KEY idx_score (score DESC, seq, id), ENGINE = InnoDB"
)

Columns = Mapping[str, str]
"""The columns of a table, and the data type of each."""


class MigrationError(Exception):
    """The schema cannot be brought up to date; the message says what stands in the way."""


def made_tables(statements: Iterable[str]) -> dict[str, frozenset[str]]:
    """The tables that these statements create, and the columns of each."""
    found = {}
    for statement in statements:
        if match := _CREATE_TABLE.match(statement):
            words = (line.split()[0] for line in match[2].splitlines() if line.strip())
            found[match[1]] = frozenset(word for word in words if word not in _NO_COLUMN)
    return found


def is_specified(columns: Columns) -> bool:
    """Whether these are the columns of the specification's `users`, and no others."""
    return columns.keys() == SPECIFIED_COLUMNS.keys() and all(
        columns[name] in types for name, types in SPECIFIED_COLUMNS.items()
    )


def foreign_tables(found: Mapping[str, Columns], made: Mapping[str, frozenset[str]]) -> list[str]:
    """A sentence for each table that has a name of ours but lacks our columns."""
    return [
        f"table `{name}` was not made by this program (it has {', '.join(columns)})"
        for name, columns in found.items()
        if not made[name] <= columns.keys()
    ]


async def columns_of(connection: Any, tables: Iterable[str]) -> dict[str, dict[str, str]]:
    """Those of the tables that the database has, with their columns."""
    names = ", ".join(f"'{name}'" for name in tables)
    [rows] = await query_all(
        connection,
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        f" WHERE table_schema = DATABASE() AND table_name IN ({names})"
        " ORDER BY table_name, ordinal_position",
    )
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        found.setdefault(table, {})[column] = kind
    return found


async def prepare(
    connection: Any, made: Mapping[str, frozenset[str]], expected: Collection[str]
) -> bool:
    """Look at the tables that have the names of `made`; adopt a `users` of the specification.

    `expected`: those that applied migrations have made. Returns whether every migration has to
    pass over what is there already. Raises MigrationError, with nothing changed, for a table of
    another program, and for one that is gone although submissions were decided.
    """
    found = await columns_of(connection, made)
    adoptable = is_specified(found.get("users", {}))
    others = {name: found[name] for name in found if not (adoptable and name == "users")}
    if foreign := foreign_tables(others, made):
        raise MigrationError(
            f"{'; '.join(foreign)}: rename it, or give the program a database of its own"
        )
    lost = [name for name in expected if name not in others]
    if lost and not await _is_unused(connection, found):
        raise MigrationError(f"table `{'`, `'.join(lost)}` is gone: restore it from a backup")
    if adoptable:
        await _adopt_users(connection)
    return bool(lost or adoptable or (found and not expected))


async def _is_unused(connection: Any, found: Mapping[str, Columns]) -> bool:
    """Whether no submission was ever decided here."""
    if not {"boards", "ledger"} <= found.keys():
        return False
    [ledger, boards] = await query_all(
        connection, "SELECT 1 FROM ledger LIMIT 1; SELECT 1 FROM boards WHERE seq > 0"
    )
    return not ledger and not boards


async def _adopt_users(connection: Any) -> None:
    misfits, indexes, [(count,)] = await query_all(
        connection,
        "SELECT id, score FROM users WHERE score < 0 OR id < 1 LIMIT 1;"
        " SELECT index_name FROM information_schema.statistics WHERE table_schema = DATABASE()"
        " AND table_name = 'users' AND index_name = 'idx_score' LIMIT 1;"
        " SELECT COUNT(*) FROM users",
    )
    if misfits:
        raise MigrationError(
            f"table `users` has a row that this program cannot hold: id {misfits[0][0]} with"
            f" score {misfits[0][1]}; ids begin at 1 and scores at 0"
        )
    if indexes:
        await query_all(connection, "ALTER TABLE users DROP KEY idx_score")
    await query_all(connection, _ADOPT)
    log.info("users_adopted", users=count)
