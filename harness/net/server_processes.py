"""Finds the processes of a server that is not our own, on this machine: by pid, name or port."""

from collections.abc import Iterable

import psutil

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def server_processes(address: tuple[str, int], *, pids: str = "", name: str = "") -> list[int]:
    """The topmost processes asked for; else those that listen at a loopback address.

    Empty where there are none: a server on another machine is not seen.
    """
    if pids or name:
        asked = {int(pid) for pid in pids.split(",") if pid}
        return _topmost(asked | set(_called(name)))
    host, port = address
    return _topmost(_listening(port)) if host in LOOPBACK else []


def absent_processes(*, pids: str, name: str) -> str:
    """Which of the processes asked for do not run on this machine, in a sentence; else empty."""
    absent = [pid for pid in pids.split(",") if pid and not psutil.pid_exists(int(pid))]
    if absent:
        return f"--server-pid: no process on this machine has the number {', '.join(absent)}"
    if name and not any(_called(name)):
        return f"--server-name: no process on this machine is called {name!r}"
    return ""


def _called(name: str) -> Iterable[int]:
    if not name:
        return
    for process in psutil.process_iter(["name", "cmdline"]):
        program = next(iter(process.info["cmdline"] or ()), "").rpartition("/")[2]
        if name in (process.info["name"], program):
            yield process.pid


def _listening(port: int) -> set[int]:
    try:
        found = psutil.net_connections("tcp")
    except psutil.Error:
        return set()
    return {
        c.pid
        for c in found
        if c.pid and c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port
    }


def _topmost(pids: set[int]) -> list[int]:
    """Without those whose ancestor is among them: a gauge counts children by itself."""
    found = []
    for pid in sorted(pids):
        try:
            above = {process.pid for process in psutil.Process(pid).parents()}
        except psutil.Error:
            continue
        if not above & pids:
            found.append(pid)
    return found
