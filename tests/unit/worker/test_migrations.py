"""Migration files: numbered without gaps, split into the statements a person would see."""

import re

from worker.database.migrate import migrations, statements


def test_versions_have_no_gap_and_names_need_no_quoting() -> None:
    found = migrations()

    assert [version for version, _, _ in found] == list(range(1, len(found) + 1))
    assert all(re.fullmatch(r"\w{1,64}", name) for _, name, _ in found)


def test_statements_end_with_a_semicolon_at_the_end_of_a_line() -> None:
    sql = "-- why; it is\nCREATE TABLE a (\n    n INT -- odd\n);\n\nINSERT INTO a VALUES (';');  \n"

    assert statements(sql) == [
        "CREATE TABLE a (\n    n INT -- odd\n)",
        "INSERT INTO a VALUES (';')",
    ]


def test_file_without_statements_yields_none() -> None:
    assert statements("-- nothing\n\n") == []


def test_every_statement_of_every_migration_is_whole() -> None:
    for _, _, sql in migrations():
        for statement in statements(sql):
            assert re.match(r"(CREATE|ALTER|INSERT|UPDATE|DROP|RENAME) ", statement), statement
            assert statement.count("(") == statement.count(")")


def test_migrations_are_portable() -> None:
    """Between MySQL 8.4 and MariaDB 10.11: none of what only one of them knows."""
    only_one = re.compile(r"\b(RETURNING|IF NOT EXISTS|SEQUENCE|UUID_TO_BIN|JSON_TABLE)\b")

    assert [sql for _, _, sql in migrations() if only_one.search(sql.upper())] == []
