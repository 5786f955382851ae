"""A private MariaDB or MySQL: its folder, its command, and when it answers."""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from stack.data_folder import write_private
from stack.errors import StartFailed
from stack.ports import HOST
from stack.process import spawn
from stack.services import programs
from stack.services.program import PROBE_TIMEOUT_S, Private

_UNFINISHED = "data.new"


class Mysql(Private):
    """MariaDB or Oracle's MySQL, durable on every commit.

    The binary log stays off: nothing replicates from a private instance, and InnoDB's redo log,
    synced at each commit, already keeps every acknowledged transaction; the binary log would only
    add a second sync. `sync_binlog` is set all the same, for whoever turns the log on.
    """

    name = "mysql"
    user = "scoreboard"
    database = "scoreboard"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._data = folder / "data"
        self._temporary = folder / "tmp"
        self._secret = folder / "password"
        self._init_sql = folder / "init.sql"

    @property
    def password(self) -> str:
        return self._secret.read_text("utf-8").strip()

    def environment(self) -> Mapping[str, str]:
        """With a folder of its own for temporary tables.

        A server that starts removes all that it finds, those of other servers in `/tmp`, too.
        """
        return {**os.environ, "TMPDIR": str(self._temporary)}

    async def prepare(self) -> None:
        self._temporary.mkdir(parents=True, exist_ok=True)
        if not self._secret.exists():
            write_private(self._secret, secrets.token_urlsafe(24))
        if not self._data.exists():
            await self._initialise()
        # The server runs this at every start, so a changed password takes effect.
        who = f"'{self.user}'@'{HOST}'"
        write_private(
            self._init_sql,
            f"CREATE USER IF NOT EXISTS {who} IDENTIFIED BY '{self.password}';\n"
            f"ALTER USER {who} IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO {who} WITH GRANT OPTION;\n"
            f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{self.password}';\n"
            f"CREATE DATABASE IF NOT EXISTS {self.database};\n",
        )

    async def _initialise(self) -> None:
        for leftover in self.folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # Under another name first: a half-made folder must never pass for a database. A name of
        # this attempt alone: what a killed supervisor started may still write into an older one.
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.folder))
        try:
            await self._install(unfinished)
            unfinished.replace(self._data)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    async def _install(self, unfinished: Path) -> None:
        server = programs.mysql_server()
        install = programs.mariadb_install_db()
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        if install is not None:
            command = [
                install,
                "--no-defaults",
                f"--datadir={unfinished}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                # The script reads `--user` itself, and then splits the folder's name at spaces;
                # what it does not know it hands on to the server.
                *[option.replace("--user", "--loose-user") for option in as_root],
            ]
        else:
            command = [
                server,
                "--no-defaults",
                "--initialize-insecure",
                f"--datadir={unfinished}",
                *as_root,
            ]
        process = spawn(
            "mysql-setup", command, log=self.folder / "setup.log", env=self.environment()
        )
        try:
            code = await process.ended()
        finally:
            process.kill()
        if code != 0:
            raise StartFailed(
                f"The database folder could not be initialised; the log is {process.log}.",
                process.log_tail(),
            )

    def command(self, port: int) -> list[str]:
        return [
            programs.mysql_server(),
            "--no-defaults",
            f"--datadir={self._data}",
            *(["--user=root"] if os.geteuid() == 0 else []),
            f"--bind-address={HOST}",
            f"--port={port}",
            # Relative to the data folder, so that no long path meets the 108 bytes of a socket.
            "--socket=mysqld.sock",
            "--pid-file=mysqld.pid",
            f"--init-file={self._init_sql}",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--sync-binlog=1",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-buffer-pool-size=256M",
            "--loose-innodb-log-file-size=128M",
            "--transaction-isolation=READ-COMMITTED",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_bin",
            "--sql-mode=STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,ERROR_FOR_DIVISION_BY_ZERO,"
            "NO_ENGINE_SUBSTITUTION",
            "--max-connections=200",
            "--max-allowed-packet=64M",
            "--loose-performance-schema=OFF",
            "--loose-mysqlx=OFF",
        ]

    async def answers(self, port: int, pid: int) -> bool:
        # The password is this instance's own, so no other server can answer in its place.
        del pid
        import aiomysql

        try:
            # Not the driver's own limit: it ends with the TCP handshake, before the greeting of
            # a frozen server, and is a `wait_for`, which may forget a cancellation.
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                connection = await aiomysql.connect(
                    host=HOST,
                    port=port,
                    user=self.user,
                    password=self.password,
                    db=self.database,
                )
        except Exception:
            return False
        connection.close()
        return True

    def url(self, port: int) -> str:
        return f"mysql://{self.user}:{quote(self.password)}@{HOST}:{port}/{self.database}"
