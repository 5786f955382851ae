"""What the processes of a run use, sampled once a second. An extra: any part may be missing.

CPU is given in cores (1.0 is one core busy for the whole second), memory in
MiB of resident set. Redis and MySQL tell their own counters as rates. Of Temporal
tells what the server under test measures of it: the development server's own
figures are a megabyte for each look, which would disturb the run.
"""

import contextlib
import http.client
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import gevent
import psutil
import pymysql

from harness.evidence.board_look import connect
from harness.measure.bottleneck import FOREIGN
from harness.measure.schedule import NS
from harness.measure.series import FINE_S, STEP_S
from harness.measure.settings import RunSettings
from harness.net.server_processes import server_processes
from harness.net.target import Target
from scoreboard_cli.running_stack import read_state

if TYPE_CHECKING:
    import redis

MYSQL_RATES = (
    *("Questions", "Com_commit", "Innodb_os_log_fsyncs", "Innodb_row_lock_waits"),
    "Innodb_row_lock_time",
)
"""The last in milliseconds waited, so as a rate it is a thousand times the waiters."""
MYSQL_LEVELS = ("Threads_running", "Innodb_data_pending_fsyncs", "Innodb_os_log_pending_fsyncs")
REDIS_RATES = (
    *("total_commands_processed", "total_net_output_bytes", "evicted_keys"),
    *("used_cpu_sys_main_thread", "used_cpu_user_main_thread"),
)
"""The last two in seconds, so as rates they are shares of a core."""
REDIS_LEVELS = ("used_memory", "connected_clients")
METRICS_PATH = "/metrics"
METRIC = re.compile(rb"^scoreboard_(\w+) (\S+)$", re.MULTILINE)
STACK = (
    *("mysql", "redis", "temporal", "worker", "server"),
    # A Temporal of several processes; `temporal` is its frontend then.
    *("temporal-history", "temporal-history-2", "temporal-matching", "temporal-worker", "postgres"),
)


def foreign_processes(target: Target, settings: RunSettings) -> dict[str, list[int]]:
    """The processes of a server that is not our own, as far as they are on this machine."""
    if target.state:
        return {}
    found = server_processes(target.address, pids=settings.server_pid, name=settings.server_name)
    return {FOREIGN: found} if found else {}


class ProcessGauge:
    """CPU and memory of one program and its children, by differences of CPU time.

    Children in `others` have a gauge of their own, and all that is below them.
    """

    def __init__(self, pid: int, others: Collection[int] = ()) -> None:
        self._pid = pid
        self._others = frozenset(others) - {pid}
        self._cpu_s: dict[int, float] = {}

    def read(self) -> tuple[float, float]:
        """CPU seconds since the last call (0 at first), resident MiB now."""
        used, resident = 0.0, 0.0
        seen: dict[int, float] = {}
        with contextlib.suppress(psutil.Error):
            for process in self._family():
                with contextlib.suppress(psutil.Error):
                    times = process.cpu_times()
                    total = times.user + times.system
                    seen[process.pid] = total
                    used += max(0.0, total - self._cpu_s.get(process.pid, total))
                    resident += process.memory_info().rss / 2**20
        self._cpu_s = seen
        return used, resident

    def _family(self) -> Iterator[psutil.Process]:
        root = psutil.Process(self._pid)
        yield root
        skipped = set(self._others)
        # Parents come before their children.
        for process in root.children(recursive=True):
            if process.pid in skipped or process.ppid() in skipped:
                skipped.add(process.pid)
            else:
                yield process


class Sampler:
    """Samples the stack behind a target, the harness' own processes and the machine."""

    def __init__(
        self,
        target: Target,
        own: Mapping[str, Sequence[int]],
        separate: Collection[int] = (),
    ) -> None:
        self._state: Mapping[str, Any] = target.state
        # A load run may have started the stack itself.
        supervisor = target.state.get("supervisor_pid")
        self._separate = {*separate, *([supervisor] if supervisor else [])}
        self._pids: dict[str, int] = {}
        self._gauges: dict[str, list[ProcessGauge]] = {}
        self._follow_stack()
        for name, group in own.items():
            self._gauges[name] = [ProcessGauge(pid, self._separate) for pid in group]
        self._mysql_url = target.mysql_url
        self._mysql: pymysql.Connection[Any] | None = None
        self._address = target.address
        # Metrics of a server with a description are its own.
        self._tells_temporal = target.server is None
        self._redis: redis.Redis | None = None
        url = target.state.get("urls", {}).get("redis")
        if url:
            # A tenth of a second, which most load processes need not wait.
            from redis import Redis

            self._redis = Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
        self._counters: dict[str, float] = {}
        self._when = time.monotonic()
        psutil.cpu_times_percent(None)
        self.sample()

    def sample(self) -> dict[str, Any]:
        """What was used since the last sample. A few milliseconds."""
        now = time.monotonic()
        seconds = max(1e-3, now - self._when)
        self._when = now
        machine = psutil.cpu_times_percent(None)
        result: dict[str, Any] = {
            "machine": {
                "busy": round((100 - machine.idle - machine.iowait) / 100, 4),
                "iowait": round(machine.iowait / 100, 4),
                "steal": round(machine.steal / 100, 4),
                "available_mib": psutil.virtual_memory().available // 2**20,
            },
            "processes": {},
        }
        self._follow_stack()
        for name, gauges in self._gauges.items():
            readings = [gauge.read() for gauge in gauges]
            result["processes"][name] = {
                "cpu": round(sum(used for used, _ in readings) / seconds, 4),
                "rss_mib": round(sum(resident for _, resident in readings), 1),
            }
            if name in self._pids:
                result["processes"][name]["pid"] = self._pids[name]
        with contextlib.suppress(OSError):
            result["redis"] = self._sample_redis(seconds)
        with contextlib.suppress(OSError, pymysql.MySQLError):
            result["mysql"] = self._sample_mysql(seconds)
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
            if self._tells_temporal:
                result["temporal"] = self._sample_temporal(seconds)
        return result

    def _follow_stack(self) -> None:
        """Gauge the stack's processes as they are now: one that was restarted has another pid."""
        if folder := self._state.get("data_dir"):
            self._state = read_state(Path(folder)) or self._state
        processes = self._state.get("processes", {})
        for name in STACK:
            pid = processes.get(name, {}).get("pid")
            if pid and self._pids.get(name) != pid:
                self._pids[name] = pid
                self._gauges[name] = [ProcessGauge(pid, self._separate)]

    def close(self) -> None:
        """Release connections."""
        if self._mysql is not None:
            self._mysql.close()
        if self._redis is not None:
            self._redis.close()

    def _rate(self, name: str, value: float, seconds: float) -> float:
        before = self._counters.get(name, value)
        self._counters[name] = value
        return round(max(0.0, value - before) / seconds, 3)

    def _sample_redis(self, seconds: float) -> dict[str, float]:
        if self._redis is None:
            raise OSError("no Redis to look into")
        from redis import RedisError

        try:
            info: dict[str, Any] = self._redis.info()
        except RedisError as error:
            raise OSError("Redis gave no figures") from error
        rates = {
            n: self._rate(f"redis.{n}", float(info[n]), seconds) for n in REDIS_RATES if n in info
        }
        return {**rates, **{name: float(info[name]) for name in REDIS_LEVELS}}

    def _sample_mysql(self, seconds: float) -> dict[str, float]:
        if not self._mysql_url:
            raise OSError("no MySQL to look into")
        if self._mysql is None:
            self._mysql = connect(self._mysql_url)
        names = (*MYSQL_RATES, *MYSQL_LEVELS)
        marks = ",".join(["%s"] * len(names))
        try:
            with self._mysql.cursor() as cursor:
                cursor.execute(f"SHOW GLOBAL STATUS WHERE Variable_name IN ({marks})", names)
                found = {str(name): float(value) for name, value in cursor.fetchall()}
        except pymysql.MySQLError:
            self._mysql = None
            raise
        rates = {n: self._rate(f"mysql.{n}", found[n], seconds) for n in MYSQL_RATES if n in found}
        return {**rates, **{name: found[name] for name in MYSQL_LEVELS if name in found}}

    def _sample_temporal(self, seconds: float) -> dict[str, float]:
        """Batches handed over per second, mean time of it, and how many are unfinished."""
        connection = http.client.HTTPConnection(*self._address, timeout=1)
        try:
            connection.request("GET", METRICS_PATH)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            # A server of another make, or one that shows its figures to no stranger.
            self._tells_temporal = False
            raise OSError(f"GET {METRICS_PATH} answered {answer.status}")
        told = {name.decode(): float(value) for name, value in METRIC.findall(body)}
        starts = self._rate("temporal.starts", told["start_seconds_count"], seconds)
        spent = self._rate("temporal.spent", told["start_seconds_sum"], seconds)
        return {
            "starts": starts,
            **({"start_ms": round(1000 * spent / starts, 1)} if starts else {}),
            "unfinished": told["batches_unfinished"],
            "unfinished_max": told["batches_unfinished_max"],
        }


def sample_until_killed(
    sampler: Sampler,
    samples: list[dict[str, Any]],
    first_unix_ns: int,
    measured_from: int,
) -> None:
    """Add a sample every second until the greenlet is killed; second 0 begins at `first_unix_ns`.

    Those of more than an hour ago become one for each minute.
    """
    try:
        while True:
            gevent.sleep(1.0)
            second = (time.time_ns() - first_unix_ns) // NS
            samples.append({"t": second, **sampler.sample()})
            thin(samples, measured_from=measured_from)
    finally:
        sampler.close()


def thin(samples: list[dict[str, Any]], *, measured_from: int) -> None:
    """Make one sample of the oldest STEP_S, where more than FINE_S others are newer. Those of the
    warm-up stay as they are: no sample is of both."""
    begin = next(
        (at for at, s in enumerate(samples) if "span_s" not in s and s["t"] >= measured_from),
        len(samples),
    )
    if len(samples) - begin >= FINE_S + STEP_S:
        samples[begin : begin + STEP_S] = [mean_of(samples[begin : begin + STEP_S])]


def mean_of(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One sample for several consecutive ones; memory is the greatest, or the least left."""
    found: dict[str, Any] = _mean(samples)
    return {**found, "span_s": len(samples)}


LAST = ("t", "pid")
EXTREMES: Mapping[str, Callable[[Sequence[float]], float]] = {"rss_mib": max, "available_mib": min}


def _mean(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for group in groups for name in group):
        values = [group[name] for group in groups if name in group]
        if isinstance(values[-1], Mapping):
            found[name] = _mean(values)
        elif name in LAST:
            found[name] = values[-1]
        else:
            found[name] = round(EXTREMES.get(name, fmean)(values), 4)
    return found
