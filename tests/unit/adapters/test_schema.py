"""Which schemas a program may work on."""

import pytest

from adapters.schema import SCHEMA_VERSION, schema_fault
from worker.database.migrate import migrations

DONE = [(1, "one", 1, None), (2, "two", 1, 1)]


def test_the_version_is_that_of_the_last_migration() -> None:
    assert len(migrations()) == SCHEMA_VERSION


@pytest.mark.parametrize(
    "rows",
    [
        DONE,
        [(1, "one", 1), (2, "two", 1)],
        [*DONE, (3, "three", 1, 2)],
        [*DONE, (3, "three", 0, 1), (4, "four", 1, 2)],
    ],
)
def test_its_own_schema_and_a_newer_one_that_admits_it_are_fine(
    rows: list[tuple[object, ...]],
) -> None:
    assert schema_fault(rows, known=2) is None


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([], "lacks migration 1 of 2"),
        (DONE[:1], "lacks migration 2 of 2"),
        ([DONE[0], (2, "two", 0, 1)], "lacks migration 2 of 2"),
        ([*DONE, (3, "three", 1, 3)], "version 3 needs a program of version 3 or later"),
        ([*DONE, (3, "three", 1, None)], "version 3 needs a newer program"),
        ([*DONE, (3, "x", 1, 2), (4, "y", 1, 3)], "at version 4, newer than this program"),
    ],
)
def test_other_schemas_are_refused_with_the_version(
    rows: list[tuple[object, ...]], fault: str
) -> None:
    assert fault in (schema_fault(rows, known=2) or "")
