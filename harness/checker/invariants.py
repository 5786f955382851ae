"""Asks the history checker about a load run. The invariants themselves are the checker's.

A load run injects no fault, attacks nobody and repeats nothing, so what only
such runs can prove is not asked for.
"""

import gc
from pathlib import Path

import pymysql

from harness.checker import Promises, check, gather
from harness.checker.verdict import Finding, Verdict
from harness.evidence.database import read_witness
from harness.evidence.history import history_paths, read_history

NOT_ASKED = frozenset({"I4", "I7", "I8", "I9"})
"""Redis samples, attacks, repeats, and limits that the run does not try."""
BYTES_MAX = 1_500_000_000
"""Larger histories are left to `python -m harness check`, on a machine with the memory."""


def judge_history(folder: Path, mysql_url: str) -> list[Finding]:
    """The checker's findings; one `unknown` when the history is too large. Raises OSError.

    About 25 µs and 1 KiB per submission. Without MySQL it judges from the outside.
    """
    # From the outside nobody tells which name belongs to which user id, and without
    # that a submission cannot be followed to its event.
    skip = NOT_ASKED if mysql_url else NOT_ASKED | {"I1", "I10"}
    paths = list(history_paths(folder))
    size = sum(path.stat().st_size for path in paths)
    if size > BYTES_MAX:
        return [
            Finding(
                invariant="I1-I10",
                title="all",
                verdict=Verdict.UNKNOWN,
                looked_at=f"nothing of {size / 1e6:,.0f} MB",
                explanations=(
                    "the history is too large to be judged here: `python -m harness check "
                    f"{folder.name}` can, where there is the memory",
                ),
            )
        ]
    # Millions of small records and no garbage: collecting would take longer than judging.
    gc.disable()
    try:
        files = [read_history(path) for path in paths]
        witness = read_witness(mysql_url) if mysql_url else None
        return check(gather(files, witness), Promises(visible_within_s=60.0, skip=skip))
    except pymysql.MySQLError as error:
        raise OSError(f"MySQL cannot be read: {error}") from error
    finally:
        gc.enable()
