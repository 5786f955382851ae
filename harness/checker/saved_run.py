"""Judges a finished run from its files: alike when `load` ends and whenever `check` is asked.

The only module of the checker that reads files and the database; the invariants are pure.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pymysql

from harness.checker import (
    Evidence,
    Finding,
    Promises,
    Verdict,
    check,
    gather,
    overall,
    promises_of,
)
from harness.checker.by_content import Account, account_of
from harness.evidence.database import (
    load_database_snapshot,
    read_database_snapshot,
    save_database_snapshot,
    words_of,
)
from harness.evidence.database_snapshot import DatabaseSnapshot
from harness.evidence.history import Header, HistoryFile, InitialBoard, read_history
from harness.evidence.history_parts import history_paths, size_of
from scoreboard.addresses import mysql_address

SNAPSHOT_FILE = "witness.json"
MEMORY_PER_BYTE = 6
"""What judging takes of memory for each byte of a history, generously (measured: 4 to 5)."""


def bytes_that_fit(available: int) -> int:
    """The largest history that a load run judges with so much memory available; it leaves larger
    ones to `check`, on a machine that has it."""
    return available // MEMORY_PER_BYTE


class DatabaseUnreadable(OSError):
    """The database did not answer; the history alone could still be judged."""


class NoHistory(OSError):
    """The folder has nothing to be judged by."""


@dataclass(frozen=True, kw_only=True)
class JudgedRun:
    """The findings, and the evidence behind them; None where that was too large to be read.

    `account` explains the events where those have no ids to follow.
    """

    findings: list[Finding]
    evidence: Evidence | None = None
    account: Account | None = None

    @property
    def verdict(self) -> Verdict:
        """Over all findings."""
        return overall(self.findings)


def judge_saved_run(
    place: Path,
    *,
    mysql_url: str = "",
    black_box: bool = False,
    promises: Promises | None = None,
    bytes_max: int | None = None,
    keep: bool = False,
) -> JudgedRun:
    """Judge the history in a file or folder, with the database where there is one.

    The database is read from `mysql_url`, from the run's first change on, or from what an
    earlier call was told to `keep` in the folder. About 25 µs and 1.5 KiB per submission.
    Raises OSError, and ValueError for a URL or a kept file that cannot be understood.
    """
    paths = list(history_paths(place))
    if not paths:
        raise NoHistory(f"{place} holds no history: no file named history*.jsonl")
    size = sum(size_of(path) for path in paths)
    if bytes_max is not None and size > bytes_max:
        return JudgedRun(findings=[_too_large(place, size)])
    # Millions of small records and no garbage: collecting would take longer than judging.
    gc.disable()
    try:
        files = [read_history(path) for path in paths]
        database = None if black_box else _database_snapshot(place, files, mysql_url, keep=keep)
        evidence = gather(files, database)
        account = account_of(evidence) if evidence.by_content else None
        return JudgedRun(
            findings=check(evidence, promises_of(evidence, promises), account),
            evidence=evidence,
            account=account,
        )
    finally:
        gc.enable()


def _database_snapshot(
    place: Path, files: Sequence[HistoryFile], mysql_url: str, *, keep: bool
) -> DatabaseSnapshot | None:
    kept = place / SNAPSHOT_FILE if place.is_dir() else None
    if not mysql_url:
        return load_database_snapshot(kept) if kept is not None and kept.exists() else None
    records = [record for file in files for record in file.records[:10]]
    board = next((record for record in records if isinstance(record, InitialBoard)), None)
    started = min((r.unix_us for r in records if isinstance(r, Header)), default=0)
    try:
        if board is None:
            database = read_database_snapshot(mysql_url)
        else:
            database = read_database_snapshot(mysql_url, after_seq=board.seq, since_us=started)
    except pymysql.MySQLError as error:
        where = mysql_address(mysql_url)
        raise DatabaseUnreadable(
            f"the ledger at {where.host} port {where.port} cannot be read: {words_of(error)}"
        ) from error
    if keep and kept is not None:
        save_database_snapshot(database, kept)
    return database


def _too_large(place: Path, size: int) -> Finding:
    return Finding(
        invariant="I1-I10",
        title="all",
        verdict=Verdict.UNKNOWN,
        looked_at=f"nothing of {size / 1e6:,.0f} MB",
        explanations=(
            "the history is too large to be judged here: `python -m harness check "
            f"{place.name}` can, where there is the memory",
        ),
    )
