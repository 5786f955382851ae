"""The lab as the system under test of a chaos run: all hosts up, and a proxy for the clients' side.

Has what `harness.chaos` asks of a stack (addresses, pids, a way to kill and start), so its faults,
clients and listeners work here unchanged.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pymysql
import redis

from harness.chaos.system import StackFailed, program_output
from harness.lab.disks import Disk
from harness.lab.machines import Machine, Machines, wait_for
from harness.lab.mysql import MysqlPair
from harness.lab.network import LabError, Network, labs, owner_of, run
from harness.lab.topology import (
    API_PORT,
    APIS,
    HOSTS,
    HTTP_PORT,
    MASTER_NAME,
    PROCESSES,
    REDIS_PORT,
    REDISES,
    SENTINEL_PORT,
    SENTINELS,
    STORES,
    WORKERS,
    Site,
)
from harness.net.fault_proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
UP_TIMEOUT_S = 120.0
NEEDED = {
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "haproxy": "haproxy",
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "redis-check-rdb": "redis-tools",
}


def lacking() -> list[str]:
    """What this machine lacks for a lab, a sentence each."""
    if os.geteuid() != 0:
        return ["The lab needs root: it makes network namespaces and mounts disks."]
    missing = {name: package for name, package in NEEDED.items() if find(name) is None}
    if faketime() is None:
        missing["libfaketime"] = "libfaketime"
    return [f"The lab needs {name}: apt-get install {package}" for name, package in missing.items()]


def faketime() -> Path | None:
    """The library that gives a process a clock of its own."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def find(name: str) -> str | None:
    """A program's path; Debian keeps some outside of a user's PATH."""
    places = (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin")
    return shutil.which(name, path=os.pathsep.join(places))


def view_of_master(told: Sequence[bytes]) -> str | None:
    """The address of the master in a Sentinel's answer about it; None while it is missed or being
    replaced."""
    fields = dict(zip(told[::2], told[1::2], strict=True))
    return fields[b"ip"].decode() if fields[b"flags"] == b"master" else None


def end(prefix: str, *, timeout_s: float = 30.0) -> None:
    """End a lab: its program in order, as by Ctrl-C, then what is left of it."""
    owner, network = owner_of(prefix), Network(prefix)
    # Another program may have its pid by now, but is on no host of this lab.
    if owner in network.pids("clients"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(owner, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while _lives(owner) and time.monotonic() < deadline:
            time.sleep(0.1)
    if prefix in labs():
        remove(prefix)


def _lives(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for is over."""
    try:
        return bool(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return False


def remove(prefix: str) -> None:
    """End what is left of a lab: its processes, its network, its disks."""
    Network(prefix).destroy()
    mounts = [line.split()[:2] for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    for source, folder in mounts:
        if source == prefix:
            for _, disk in reversed(mounts):
                if disk.startswith(f"{folder}/"):
                    Disk(Path(), Path(disk)).detach()
            run("umount", "-l", folder)
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


class Lab:
    """All hosts of one lab, in `folder`. `async with` starts and stops them; the program must be
    on the network of the host `clients` by then (`built`)."""

    def __init__(
        self, folder: Path, *, users: int = 200, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.network = Network(f"lab{os.getpid()}")
        self.machines = Machines(self.network)
        self.proxies: dict[str, Proxy] = {}
        self.losses: list[dict[str, Any]] = []
        self.site = Site(
            folder=folder,
            mysql_password=secrets.token_hex(16),
            redis_password=secrets.token_hex(16),
            jwt_secret=secrets.token_urlsafe(48),
            python=sys.executable,
            mysqld=find("mariadbd") or "mariadbd",
            redis_server=str(folder / "redis-server"),
            temporal=find("temporal") or "temporal",
            haproxy=find("haproxy") or "haproxy",
            users=users,
        )
        self.mysql = MysqlPair(self.site, self.machines)
        self.disks = {name: Disk(folder / f"{name}.img", self.site.store(name)) for name in STORES}
        self.failpoints = folder / "failpoints"
        self.secret = self.site.jwt_secret
        self._environment = dict(environment or {})
        self.overrides: dict[str, dict[str, str]] = {}
        """More of the environment, for each process: a clock that is wrong."""
        self.trees: dict[str, Path] = {}
        """Another checkout that a process runs from: a release that is rolled back."""

    # Built and started ------------------------------------------------------------------------

    def build(self) -> None:
        """Hosts, cables, disks and files; no process yet. Raises LabError."""
        for prefix in labs():
            # Of a program that was killed.
            if not Path(f"/proc/{owner_of(prefix)}").exists():
                remove(prefix)
        self.network.build()
        run("mount", "-t", "tmpfs", "-o", "size=3g", self.network.prefix, str(self.folder))
        (self.folder / "redis-server").symlink_to(find("redis-check-rdb") or "redis-check-rdb")
        example = (ROOT / "deploy" / "proxies" / "haproxy.cfg").read_text("utf-8")
        for name, text in self.site.files(example).items():
            (self.folder / name).write_text(text, "utf-8")
        for disk in self.disks.values():
            disk.make()
        self.failpoints.write_text("", "utf-8")
        for name in PROCESSES:
            self.machines.add(
                Machine(
                    name,
                    command=lambda name=name: self._command(name),  # type: ignore[misc]
                    environment=lambda name=name: self._environment_of(name),  # type: ignore[misc]
                    log=self.folder / f"{name}.log",
                    folder=lambda name=name: self.trees.get(name, ROOT),  # type: ignore[misc]
                )
            )

    def destroy(self, *, keep: Path | None = None) -> None:
        """End all processes, unmount all disks, remove the network. Logs go to `keep`."""
        self.network.destroy()
        self.machines.reap()
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for log in self.folder.glob("*.log"):
                shutil.copy(log, keep / log.name)
        remove(self.network.prefix)

    def _command(self, name: str) -> list[str]:
        return self.site.command(name, semi_synchronous=self.mysql.semi_synchronous)

    def _environment_of(self, name: str) -> dict[str, str]:
        if name in APIS or name in WORKERS:
            own = self.site.environment(name, self._environment)
        else:
            own = {"GOGC": "400"}
        return own | self.overrides.get(name, {})

    async def __aenter__(self) -> "Lab":
        try:
            await self._start()
        except LabError as error:
            await self.stop()
            raise StackFailed(str(error)) from error
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        for edge in ("client-server", "listener-server"):
            self.proxies[edge] = Proxy(edge, HOSTS["proxy"], HTTP_PORT)
            await self.proxies[edge].start()
        self.machines.start("temporal")
        self.machines.start("proxy")
        installer = find("mariadb-install-db") or "mariadb-install-db"
        await asyncio.to_thread(self.mysql.install, installer)
        for name in ("mysql1", "mysql2"):
            self.mysql.provision(name)
        for name in (*REDISES, *SENTINELS):
            self.machines.start(name)
        await self.mysql.begin()
        await self.point_proxy()
        await self.run("worker", "seed", "--users", str(self.site.users))
        for name in (*WORKERS, *APIS):
            self.machines.start(name)
        self.machines.watch()
        await self.until_up(timeout_s=UP_TIMEOUT_S)
        await self.mysql.caught_up()

    async def point_proxy(self) -> None:
        """The proxy's file names mysql1 as primary; tell a new one who it is."""
        await wait_for(self.site.admin_socket.exists, timeout_s=10, what="proxy")
        for name in ("mysql1", "mysql2"):
            what = "enable" if name == self.mysql.primary else "disable"
            await asyncio.to_thread(self.mysql.order, f"{what} server primary/{name}")

    async def stop(self) -> None:
        """End every process."""
        await self.machines.unwatch()
        for machine in self.machines.all.values():
            machine.wanted = False
        for name in (*APIS, *WORKERS):
            if name in self.machines.all:
                await self.machines.stop(name, timeout_s=5)
        for proxy in self.proxies.values():
            await proxy.close()

    # What a chaos run asks ---------------------------------------------------------------------

    def mysql_url(self, port: int | None = None) -> str:
        """The primary, by the proxy."""
        del port
        return self.site.mysql_url()

    @property
    def redis_url(self) -> str:
        """The master that the Sentinels name now."""
        return f"redis://:{self.site.redis_password}@{self.redis_master()}:{REDIS_PORT}/0"

    def redis_master(self) -> str:
        """The address of the master, as the first Sentinel that answers has it."""
        for host in SENTINELS.values():
            try:
                found = self.told(
                    host,
                    *("SENTINEL", "get-master-addr-by-name", MASTER_NAME),
                    port=SENTINEL_PORT,
                    timeout_s=0.5,
                )
            except redis.RedisError:
                continue
            if found:
                return str(found[0].decode())
        return HOSTS[REDISES[0]]

    def redis_master_host(self) -> str:
        """The host of the master."""
        address = self.redis_master()
        return next(host for host in REDISES if HOSTS[host] == address)

    @property
    def temporal_address(self) -> str:
        """Temporal's address."""
        return self.site.temporal_address

    @property
    def server_port(self) -> int:
        """Where this program reaches the API: there is no way past the proxies."""
        return self.proxies["client-server"].port

    def pid(self, process: str) -> int | None:
        """The process's pid now, None while it does not run."""
        return self.machines.all[process].pid

    async def ask(self, request: dict[str, Any], *, timeout_s: float = 60.0) -> dict[str, Any]:
        """`kill`, `stop` or `start` a process, as the stack's supervisor does."""
        del timeout_s
        process = request["process"]
        match request["op"]:
            case "kill":
                await self.machines.kill(process)
                self.machines.start(process)
            case "stop":
                await self.machines.stop(process)
            case "start":
                self.machines.start(process)
        return {"ok": True}

    async def run(self, *arguments: str) -> str:
        """Run one of our programs on the first worker's host; its output. Raises StackFailed."""
        [host, *_] = WORKERS
        return await program_output(
            [*self.network.on(host), self.site.python, "-m", *arguments],
            {**os.environ, **self.site.environment(host, self._environment)},
            folder=ROOT,
        )

    async def until_up(self, *, timeout_s: float = UP_TIMEOUT_S) -> None:
        """Wait until every process runs, the databases answer and both APIs are ready.

        Raises StackFailed at the deadline.
        """
        try:
            await self._primary_writable()
            await wait_for(lambda: not self.machines.down(), timeout_s=timeout_s, what="a process")
            for name in APIS:
                await self._ready(name, timeout_s)
            await self._ready("proxy", timeout_s)
            await wait_for(self._redis_settled, timeout_s=timeout_s, what="Redis' pair to settle")
        except (LabError, pymysql.err.Error, OSError) as error:
            raise StackFailed(f"{error!r}; not running: {self.machines.down()}") from error

    def _redis_settled(self) -> bool:
        """Whether the Sentinels agree on a master that none of them misses, and the other follows
        it: a fail-over may begin only after the master that was away is back."""
        if not all(self.machines.all[name].wanted for name in (*REDISES, *SENTINELS)):
            return True
        try:
            views = [
                self.told(host, "SENTINEL", "MASTER", MASTER_NAME, port=SENTINEL_PORT, timeout_s=1)
                for host in SENTINELS.values()
            ]
            masters = {view_of_master(view) for view in views}
            if len(masters) != 1 or None in masters:
                return False
            [master] = masters
            [other] = [name for name in REDISES if HOSTS[name] != master]
            role, followed, _, state, *_ = self.told(other, "ROLE", timeout_s=1)
        except (redis.RedisError, ValueError):
            return False
        return (role, followed.decode(), state) == (b"slave", master, b"connected")

    def told(self, host: str, *words: str, port: int = REDIS_PORT, timeout_s: float = 2.0) -> Any:
        """What one Redis or Sentinel answers, whatever its role. Raises redis.RedisError."""
        client = redis.Redis(
            host=HOSTS[host],
            port=port,
            password=self.site.redis_password if port == REDIS_PORT else None,
            socket_timeout=timeout_s,
            protocol=2,
        )
        ask: Any = client.execute_command
        with contextlib.closing(client):
            return ask(*words)

    async def _primary_writable(self) -> None:
        """A primary that was started again is read-only, as every server is at its start."""
        for name in (self.mysql.primary, self.mysql.replica):
            if self.machines.all[name].wanted:
                await self.mysql.until_answering(name)
        await self.mysql.sql(self.mysql.primary, "SET GLOBAL read_only = 0")
        await self.mysql.sql(self.mysql.replica, "START SLAVE")
        await self.point_proxy()

    async def _ready(self, name: str, timeout_s: float) -> None:
        port = HTTP_PORT if name == "proxy" else API_PORT
        path = "scores" if name == "proxy" else "readyz"
        address = f"http://{HOSTS[name]}:{port}/{path}"
        reason = "nothing yet"

        def answers() -> bool:
            nonlocal reason
            try:
                with urllib.request.urlopen(address, timeout=2) as answer:
                    return bool(answer.status == 200)
            except urllib.error.HTTPError as error:
                reason = error.read().decode(errors="replace")[:300]
            except OSError as error:
                reason = str(error)
            return False

        deadline = asyncio.get_running_loop().time() + timeout_s
        while not await asyncio.to_thread(answers):
            if asyncio.get_running_loop().time() > deadline:
                raise LabError(f"{name} is not ready after {timeout_s:g} s: {reason}")
            await asyncio.sleep(0.1)
