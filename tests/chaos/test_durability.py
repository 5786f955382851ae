"""The durable settings are in force in the processes that run, not only in what starts them."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pymysql
import pytest
import redis

from tests.support.services import Services, cursor_sync, fresh_database

COMMITS = 20


@pytest.fixture
def mysql_url(services_on_disk: Services) -> Iterator[str]:
    """A new database in them."""
    with fresh_database(services_on_disk.mysql_url) as url:
        yield url


def process_listening_at(port: int) -> psutil.Process:
    """The process that serves on a port of this machine."""
    for process in psutil.process_iter(["pid"]):
        try:
            connections = process.net_connections(kind="tcp")
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections):
            return process
    raise AssertionError(f"nobody listens at {port}")


def test_mysql_syncs_its_log_at_every_commit(mysql_url: str) -> None:
    with cursor_sync(mysql_url) as cursor:
        cursor.execute("SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog")
        assert cursor.fetchone() == (1, 1)
        cursor.execute("SELECT @@innodb_doublewrite")
        [doublewrite] = cursor.fetchone() or [None]
        assert str(doublewrite) in ("1", "ON")


def test_mysql_really_calls_fsync_for_each_commit(mysql_url: str) -> None:
    def log_syncs(cursor: pymysql.cursors.Cursor) -> int:
        # MySQL counts syncs of the log apart, MariaDB with all others.
        cursor.execute(
            "SHOW GLOBAL STATUS WHERE Variable_name IN"
            " ('Innodb_os_log_fsyncs', 'Innodb_data_fsyncs')"
        )
        return max(int(value) for _, value in cursor.fetchall())

    with cursor_sync(mysql_url) as cursor:
        cursor.execute("CREATE TABLE commits (number INT PRIMARY KEY) ENGINE = InnoDB")
        before = log_syncs(cursor)
        for number in range(COMMITS):
            cursor.execute("INSERT INTO commits VALUES (%s)", (number,))

        assert log_syncs(cursor) - before >= COMMITS


def test_temporal_stores_workflows_with_full_synchronisation(
    services_on_disk: Services,
) -> None:
    port = int(services_on_disk.temporal_address.rpartition(":")[2])
    command = process_listening_at(port).cmdline()
    pragmas = [
        command[position + 1]
        for position, argument in enumerate(command)
        if argument == "--sqlite-pragma"
    ]

    assert "synchronous=2" in pragmas
    assert not {"synchronous=0", "synchronous=1"} & set(pragmas)
    database = Path(command[command.index("--db-filename") + 1])
    header = database.read_bytes()[:20]
    # Bytes 18 and 19 of the header say 2 for a write-ahead log: the pragmas reached SQLite.
    assert header[18:20] == b"\x02\x02"


def test_redis_writes_its_log_before_it_answers(services_on_disk: Services) -> None:
    with redis.Redis.from_url(services_on_disk.redis_url) as client:
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    assert urlsplit(services_on_disk.redis_url).hostname == "127.0.0.1"
