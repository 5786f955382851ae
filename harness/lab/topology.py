"""What stands where in the lab: hosts, addresses, processes and their configuration. Pure.

Addresses are the same in every lab: its network is in namespaces of its own, so labs side by side
do not see each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

HTTP_PORT = 8080
API_PORT = 3000
MYSQL_PORT = 3306
REDIS_PORT = 6379
SENTINEL_PORT = 26379
TEMPORAL_PORT = 7233
METRICS_PORT = 9100

HOSTS: Mapping[str, str] = {
    "clients": "10.77.0.1",
    "proxy": "10.77.0.2",
    "api1": "10.77.0.11",
    "api2": "10.77.0.12",
    "worker1": "10.77.0.21",
    "worker2": "10.77.0.22",
    "mysql1": "10.77.0.31",
    "mysql2": "10.77.0.32",
    "redis1": "10.77.0.41",
    "redis2": "10.77.0.42",
    "temporal": "10.77.0.51",
}
"""Each host by name, with its address."""

APIS = ("api1", "api2")
WORKERS = ("worker1", "worker2")
MYSQLS = ("mysql1", "mysql2")
REDISES = ("redis1", "redis2")
SENTINELS = {"sentinel1": "proxy", "sentinel2": "worker1", "sentinel3": "worker2"}
"""Each Sentinel and its host. No Sentinel is on a host with Redis, as a quorum needs."""
STORES = (*MYSQLS, *REDISES, "temporal")
"""The hosts with a disk."""

PROCESSES = (*STORES, *SENTINELS, *WORKERS, *APIS, "proxy")
"""Each process by name, in the order of the start. All but the Sentinels are called as their host
is."""

MASTER_NAME = "scores"
DATABASE_USER = "scoreboard"
OPERATOR = "operator"
"""The MySQL account of people: the application's must not write where `read_only` is set."""

SENTINEL_DOWN_MS = 1500


def host_of(process: str) -> str:
    """The host that a process runs on."""
    return SENTINELS.get(process, process)


def address_of(process: str) -> str:
    """The address of a process's host."""
    return HOSTS[host_of(process)]


@dataclass(frozen=True, kw_only=True)
class Site:
    """One lab: its folder, its passwords and the programs it runs."""

    folder: Path
    mysql_password: str
    redis_password: str
    jwt_secret: str
    python: str
    mysqld: str
    redis_server: str
    temporal: str
    haproxy: str
    users: int = 200

    def store(self, name: str) -> Path:
        """Where the disk of a store is mounted."""
        return self.folder / "disks" / name

    def mysql_url(self, host: str = "proxy", user: str = DATABASE_USER) -> str:
        """MySQL, normally by the proxy, which knows the primary."""
        password = quote(self.mysql_password)
        return f"mysql://{user}:{password}@{HOSTS[host]}:{MYSQL_PORT}/scoreboard"

    @property
    def redis_url(self) -> str:
        """Redis as the application finds it: whatever the Sentinels call the master."""
        nodes = ",".join(f"{HOSTS[host]}:{SENTINEL_PORT}" for host in SENTINELS.values())
        return f"redis+sentinel://:{self.redis_password}@{nodes}/{MASTER_NAME}/0"

    @property
    def temporal_address(self) -> str:
        """Temporal's only server."""
        return f"{HOSTS['temporal']}:{TEMPORAL_PORT}"

    @property
    def admin_socket(self) -> Path:
        """Where HAProxy takes orders."""
        return self.folder / "haproxy.sock"

    def environment(self, process: str, extra: Mapping[str, str]) -> dict[str, str]:
        """The settings of an API or a worker."""
        return {
            "SCOREBOARD_MYSQL_URL": self.mysql_url(),
            "SCOREBOARD_REDIS_URL": self.redis_url,
            "SCOREBOARD_TEMPORAL_ADDRESS": self.temporal_address,
            "SCOREBOARD_JWT_SECRET": self.jwt_secret,
            "SCOREBOARD_HOST": address_of(process),
            "SCOREBOARD_PORT": str(API_PORT),
            "SCOREBOARD_PROXIES_COUNT": "1",
            "SCOREBOARD_METRICS_HOST": address_of(process),
            "SCOREBOARD_METRICS_PORT": str(METRICS_PORT),
            "SCOREBOARD_FAILPOINTS": str(self.folder / "failpoints"),
            **extra,
        }

    def command(self, process: str, *, semi_synchronous: bool = True) -> list[str]:
        """What the host runs."""
        host = HOSTS[host_of(process)]
        if process in APIS:
            return [self.python, "-m", "server"]
        if process in WORKERS:
            return [self.python, "-m", "worker"]
        if process in MYSQLS:
            return self._mysqld(process, semi_synchronous=semi_synchronous)
        if process in REDISES:
            return self._redis(process, host)
        if process in SENTINELS:
            return [self.redis_server, str(self.folder / f"{process}.conf"), "--sentinel"]
        if process == "temporal":
            return self._temporal()
        return [self.haproxy, "-db", "-f", str(self.folder / "haproxy.cfg")]

    def _mysqld(self, process: str, *, semi_synchronous: bool) -> list[str]:
        on = "ON" if semi_synchronous else "OFF"
        return [
            self.mysqld,
            "--no-defaults",
            f"--datadir={self.store(process) / 'data'}",
            "--user=root",
            f"--bind-address={address_of(process)}",
            f"--port={MYSQL_PORT}",
            f"--socket={self.socket(process)}",
            "--pid-file=mysqld.pid",
            f"--tmpdir={self.store(process)}",
            f"--server-id={MYSQLS.index(process) + 1}",
            "--skip-name-resolve",
            "--log-bin=binlog",
            "--log-slave-updates=ON",
            "--binlog-format=ROW",
            "--gtid-strict-mode=ON",
            # A server starts as a replica; promotion makes it writable.
            "--read-only=ON",
            "--skip-slave-start",
            f"--rpl-semi-sync-master-enabled={on}",
            f"--rpl-semi-sync-slave-enabled={on}",
            "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
            "--rpl-semi-sync-master-timeout=2000",
            "--slave-net-timeout=5",
            # A replica that loses its power knows its primary afterwards.
            "--sync-master-info=1",
            "--sync-relay-log-info=1",
            "--sync-binlog=1",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-buffer-pool-size=64M",
            "--loose-innodb-log-file-size=32M",
            "--transaction-isolation=READ-COMMITTED",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_bin",
            "--sql-mode=STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,ERROR_FOR_DIVISION_BY_ZERO,"
            "NO_ENGINE_SUBSTITUTION",
            "--max-connections=200",
            "--max-allowed-packet=64M",
        ]

    def socket(self, process: str) -> Path:
        """A MySQL server's socket: short, for a socket's path is bounded to 107 bytes."""
        return self.folder / f"{process}.sock"

    def _redis(self, process: str, host: str) -> list[str]:
        return [
            self.redis_server,
            str(self.folder / f"{process}.conf"),
            *("--bind", host, "127.0.0.1"),
            *("--dir", str(self.store(process))),
        ]

    def _temporal(self) -> list[str]:
        limits = (
            *("frontend.rps", "frontend.namespaceRPS", "history.rps", "matching.rps"),
            *("frontend.namespaceRPS.visibility", "system.visibilityPersistenceMaxReadQPS"),
        )
        return [
            self.temporal,
            *("server", "start-dev", "--headless"),
            # Its parts find each other over loopback, whatever address they listen on.
            *("--ip", "0.0.0.0"),
            *("--port", str(TEMPORAL_PORT)),
            *("--db-filename", str(self.store("temporal") / "temporal.db")),
            *("--sqlite-pragma", "journal_mode=wal"),
            *("--sqlite-pragma", "synchronous=2"),
            *("--log-level", "error"),
            *[
                argument
                for key in limits
                for argument in ("--dynamic-config-value", f"{key}=100000")
            ],
        ]

    def files(self, haproxy_example: str) -> dict[str, str]:
        """Every configuration file by its name in the folder. `haproxy_example` is the text of
        `deploy/proxies/haproxy.cfg`: the lab runs what the documentation recommends."""
        return {
            "haproxy.cfg": self._haproxy(haproxy_example),
            "init.sql": _accounts(self.mysql_password),
            **{f"{name}.conf": self._redis_conf(name) for name in REDISES},
            **{f"{name}.conf": self._sentinel_conf(host) for name, host in SENTINELS.items()},
        }

    def _redis_conf(self, process: str) -> str:
        lines = [
            f"port {REDIS_PORT}",
            f"requirepass {self.redis_password}",
            f"masterauth {self.redis_password}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "rdbcompression no",
            "maxmemory-policy noeviction",
            "repl-diskless-sync-delay 0",
            "repl-timeout 5",
        ]
        if process != REDISES[0]:
            lines.append(f"replicaof {HOSTS[REDISES[0]]} {REDIS_PORT}")
        return "\n".join(lines) + "\n"

    def _sentinel_conf(self, host: str) -> str:
        return (
            f"port {SENTINEL_PORT}\n"
            f"bind {HOSTS[host]}\n"
            f"dir {self.folder}\n"
            f"sentinel monitor {MASTER_NAME} {HOSTS[REDISES[0]]} {REDIS_PORT} 2\n"
            f"sentinel auth-pass {MASTER_NAME} {self.redis_password}\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} {SENTINEL_DOWN_MS}\n"
            f"sentinel failover-timeout {MASTER_NAME} 6000\n"
        )

    def _haproxy(self, example: str) -> str:
        """The documented file with our addresses, and MySQL's primary beside it."""

        def servers(port: int, names: tuple[str, ...], more: str = "") -> str:
            return "\n".join(
                f"    server {name} {HOSTS[name]}:{port}{'' if n == 0 else more}"
                for n, name in enumerate(names)
            )

        text = example.replace("    server api1 127.0.0.1:3000", servers(API_PORT, APIS))
        text = text.replace("bind :8080", f"bind :{HTTP_PORT}")
        more = f"maxconn 4000\n    stats socket {self.admin_socket} level admin"
        text = text.replace("defaults\n", f"global\n    {more}\n\ndefaults\n", 1)
        # Which server is the primary is told by orders at a fail-over, not found by a check.
        return (
            f"{text}\n"
            "frontend mysql\n"
            "    mode tcp\n"
            "    timeout client 1h\n"
            f"    bind :{MYSQL_PORT}\n"
            "    default_backend primary\n\n"
            "backend primary\n"
            "    mode tcp\n"
            "    timeout server 1h\n"
            f"{servers(MYSQL_PORT, MYSQLS, ' disabled')}\n"
        )


def _accounts(password: str) -> str:
    """Run on each MySQL server before replication begins; not replicated."""
    lines = ["SET sql_log_bin = 0;", "CREATE DATABASE scoreboard;"]
    for name, rights in (
        (DATABASE_USER, "ALL ON scoreboard.*"),
        # Without READ ONLY ADMIN, as `ALL ON *.*` would bring, `read_only` binds.
        (OPERATOR, "ALL ON *.*"),
    ):
        lines.append(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{password}';")
        lines.append(f"GRANT {rights} TO '{name}'@'%';")
    return "\n".join(lines) + "\n"
