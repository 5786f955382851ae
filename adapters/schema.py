"""Whether a program may work on the schema that it finds. Not how it is made: the worker's
migrations do that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

SCHEMA_VERSION = 8
"""The last migration that this program knows; a test compares it with them."""

VERSIONS_QUERY = "SELECT * FROM schema_migrations"
"""All columns, since the table of programs before version 5 has one fewer."""


def newer_fault(oldest: Mapping[int, int | None], known: int) -> str | None:
    """Why a program that knows `known` migrations may not run on these; None when it may.

    Each version comes with the oldest program that may run on it, None when it does not say.
    """
    for version in sorted(version for version in oldest if version > known):
        least = oldest[version]
        if least is None or least > known:
            needed = f"a program of version {least} or later" if least else "a newer program"
            return (
                f"the database is at version {max(oldest)}, newer than this program (version"
                f" {known}), and version {version} needs {needed}: start that release, or see"
                " docs/runbooks/bad-release.md"
            )
    return None


def schema_fault(rows: Sequence[Sequence[Any]], known: int = SCHEMA_VERSION) -> str | None:
    """Why a program may not work yet, from the rows of VERSIONS_QUERY; None when it may."""
    applied = {row[0] for row in rows if row[2]}
    if lacking := set(range(1, known + 1)) - applied:
        return (
            f"the schema lacks migration {min(lacking)} of {known}: start a worker of this"
            " release, or run `python -m worker migrate`"
        )
    return newer_fault({row[0]: row[3] if len(row) > 3 else None for row in rows}, known)
