"""A MySQL fail-over that lost changes, as one transaction over the tables of a running system."""

from pathlib import Path

from adapters.mysql import Pool, query_all

SQL = Path(__file__).parents[1] / "integration" / "sql"

USERS = 160
"""The scripts give points to users 150 to 154."""

LOST = {"splice": 3, "back": 6}
"""How many changes each script takes back. `splice` then applies five others, under the numbers
that follow: a promoted replica and its first batch. `back` is a restored backup."""


async def fail_over(pool: Pool, name: str) -> None:
    """Run a script of `SQL`, unchanged."""
    async with pool.connection() as connection:
        await query_all(connection, (SQL / f"{name}.sql").read_text("utf-8"))
        if name == "splice":
            # The connection is used again.
            await query_all(connection, "DROP TEMPORARY TABLE lost")
