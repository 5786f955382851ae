"""Drops the indexes that a private Temporal keeps over its list of workflows and nobody reads.

The development server indexes that list by 58 columns, most of them preallocated for search
attributes, and each workflow writes every index: a megabyte of log for one batch. Any search still
finds the same; one by a column without an index reads the list.
"""

import contextlib
from pathlib import Path

TABLE = "executions_visibility"
KEPT = frozenset({"by_status", "by_workflow_id", "by_temporal_namespace_division"})
"""What SQLite chooses of all 58 for the searches of ours and of the web UI."""
WAIT_S = 5.0


def drop_unread_indexes(database: Path) -> int:
    """How many were dropped: none from the second start on, and none where SQLite cannot.

    For a server that runs: it sees the change at its next statement. Blocks for milliseconds.
    """
    try:
        import sqlite3
    except ImportError:
        # A Python without SQLite: only speed is lost.
        return 0
    try:
        # The mode: no file is made where there is none.
        opened = sqlite3.connect(
            f"{database.absolute().as_uri()}?mode=rw", uri=True, timeout=WAIT_S
        )
        with contextlib.closing(opened) as connection, connection:
            found = connection.execute(
                "SELECT name FROM sqlite_master"
                " WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
                (TABLE,),
            )
            unread = sorted({name for (name,) in found} - KEPT)
            if unread:
                # One transaction: each alone would be a sync.
                connection.execute("BEGIN IMMEDIATE")
            for name in unread:
                connection.execute(f'DROP INDEX IF EXISTS "{name}"')
    except sqlite3.Error:
        return 0
    return len(unread)
