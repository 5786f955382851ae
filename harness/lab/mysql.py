"""MariaDB's pair in the lab: set up, promoted, rebuilt, and asked for what a fail-over lost."""

import asyncio
import shutil
import socket
import uuid
from typing import Any

import pymysql

from harness.evidence.database_snapshot import Row
from harness.lab.disks import settled
from harness.lab.machines import Machines
from harness.lab.network import LabError, run
from harness.lab.topology import HOSTS, MYSQL_PORT, MYSQLS, OPERATOR, Site

START_TIMEOUT_S = 90.0
CATCH_UP_S = 60.0


class MysqlPair:
    """Primary and replica. `primary` is the one that the proxy sends writes to."""

    def __init__(self, site: Site, machines: Machines) -> None:
        self._site = site
        self._machines = machines
        self.primary = MYSQLS[0]
        self.semi_synchronous = True

    @property
    def replica(self) -> str:
        """The other one."""
        return MYSQLS[1 - MYSQLS.index(self.primary)]

    def install(self, installer: str) -> None:
        """Make the folder that every new server begins with: system tables and accounts."""
        template = self._site.folder / "mysql-template"
        run(
            installer,
            "--no-defaults",
            f"--datadir={template}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--user=root",
        )
        bootstrap = (self._site.folder / "init.sql").read_text("utf-8")
        run(
            self._site.mysqld,
            "--no-defaults",
            "--bootstrap",
            "--user=root",
            f"--datadir={template}",
            "--skip-grant-tables=0",
            "--loose-innodb-log-file-size=32M",
            text=bootstrap,
        )

    def provision(self, name: str) -> None:
        """Give a server the data it begins with. It must not run."""
        data = self._site.store(name) / "data"
        shutil.rmtree(data, ignore_errors=True)
        run("cp", "-r", "--sparse=always", str(self._site.folder / "mysql-template"), str(data))
        settled(data)

    async def begin(self) -> None:
        """Both start: one writable, the other its replica."""
        for name in MYSQLS:
            await self.started(name)
        await self.follow(self.replica, self.primary)
        await self.sql(self.primary, "SET GLOBAL read_only = 0")

    async def started(self, name: str) -> None:
        """Start a server and wait until it answers."""
        self._machines.start(name)
        await self.until_answering(name)

    async def until_answering(self, name: str) -> None:
        """Wait until a server answers. Raises LabError."""
        await until(lambda: self.sql(name, "SELECT 1"), timeout_s=START_TIMEOUT_S, what=name)

    async def sql(self, name: str, *statements: str) -> list[dict[str, Any]]:
        """Run statements as the operator, by the server's socket: also when its cable is out.
        The rows of the last one. Raises the driver's errors."""
        return await asyncio.to_thread(self._sql, name, statements)

    def _sql(self, name: str, statements: tuple[str, ...]) -> list[dict[str, Any]]:
        connection = pymysql.connect(
            unix_socket=str(self._site.socket(name)),
            user=OPERATOR,
            password=self._site.mysql_password,
            connect_timeout=5,
            read_timeout=90,
            autocommit=True,
            cursorclass=pymysql.cursors.DictCursor,
        )
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    async def follow(self, name: str, primary: str) -> None:
        """Make a server the replica of another."""
        await self.sql(
            name,
            "STOP SLAVE",
            "RESET SLAVE ALL",
            "SET GLOBAL read_only = 1",
            f"CHANGE MASTER TO MASTER_HOST='{HOSTS[primary]}', MASTER_PORT={MYSQL_PORT},"
            f" MASTER_USER='{OPERATOR}', MASTER_PASSWORD='{self._site.mysql_password}',"
            " MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1, MASTER_USE_GTID=current_pos",
            "START SLAVE",
        )
        await asyncio.to_thread(settled, self._site.store(name))

    async def position(self, name: str) -> str:
        """The GTID of the last transaction that a server has."""
        [row] = await self.sql(name, "SELECT @@GLOBAL.gtid_current_pos AS at")
        return str(row["at"])

    async def caught_up(self, *, timeout_s: float = CATCH_UP_S) -> None:
        """Wait until the replica has what the primary has now. Raises LabError."""
        at = await self.position(self.primary)
        if not at:
            return
        [row] = await self.sql(
            self.replica, f"SELECT MASTER_GTID_WAIT('{at}', {timeout_s}) AS done"
        )
        if row["done"] != 0:
            [state] = await self.sql(self.replica, "SHOW SLAVE STATUS")
            errors = state["Last_SQL_Error"] or state["Last_IO_Error"]
            raise LabError(f"{self.replica} does not catch up with {self.primary}: {errors}")

    async def promote(self, name: str, *, cut_sessions: bool = True) -> None:
        """Make a server the primary, as it is, and send writes to it. What it had received and not
        applied is forgotten. Sessions with the old one are cut, as docs/stores.md asks."""
        old = self.primary
        await self.sql(name, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0")
        self.primary = name
        await self.point_proxy(old, cut_sessions=cut_sessions)

    async def point_proxy(self, old: str, *, cut_sessions: bool = True) -> None:
        """Tell the proxy who the primary is."""
        orders = [f"disable server primary/{old}", f"enable server primary/{self.primary}"]
        if cut_sessions:
            orders.append(f"shutdown sessions server primary/{old}")
        for order in orders if old != self.primary else orders[1:2]:
            await asyncio.to_thread(self.order, order)

    def order(self, text: str) -> str:
        """Tell HAProxy something; what it answers. Raises OSError."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(str(self._site.admin_socket))
            link.sendall(f"{text}\n".encode())
            answer = b""
            while piece := link.recv(65536):
                answer += piece
            return answer.decode()

    async def rebuild(self, name: str) -> None:
        """Make a server that has another history a replica: with nothing of its own, from the
        binary logs of the primary, which has them all."""
        await self._machines.kill(name)
        self.provision(name)
        await self.started(name)
        await self.follow(name, self.primary)

    async def rows_after(self, name: str, seq: int) -> list[Row]:
        """The changes that a server has after `seq`."""
        found = await self.sql(
            name,
            "SELECT submission_id, principal, user_id, increment, outcome, seq, score_after,"
            f" committed_at_us FROM scoreboard.ledger WHERE seq > {seq} ORDER BY seq",
        )
        return [
            Row(
                sid=str(uuid.UUID(bytes=row["submission_id"])),
                principal=row["principal"].decode(),
                user=row["user_id"],
                increment=row["increment"],
                outcome=row["outcome"],
                seq=row["seq"],
                score_after=row["score_after"],
                committed_us=row["committed_at_us"],
            )
            for row in found
        ]

    async def board_seq(self, name: str) -> int:
        """The number of the newest change that a server has."""
        [row] = await self.sql(name, "SELECT seq FROM scoreboard.boards WHERE id = 1")
        return int(row["seq"])


async def until(attempt: Any, *, timeout_s: float, what: str) -> None:
    """Repeat an asynchronous call until it succeeds. Raises LabError at the deadline, with the
    last reason."""
    reason = "no answer"
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    await attempt()
                    return
                except (pymysql.err.Error, OSError, RuntimeError, LabError) as error:
                    reason = str(error) or type(error).__name__
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise LabError(f"{what} took longer than {timeout_s:g} s: {reason}") from None
