"""The lab's network: a namespace for each host, cables, a switch, and how they are broken.

Needs root and Debian's `iproute2` and `iptables`. Nothing outside the namespaces is changed.
"""

import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.lab.topology import HOSTS

_CLONE_NEWNET = 0x40000000
_NAMES = Path("/run/netns")


class LabError(Exception):
    """The lab cannot be built or asked here; the message is a sentence for a person."""


def run(*command: str, text: str | None = None) -> str:
    """A command's output. Raises LabError with what it complained of."""
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{' '.join(command)}: {error}") from None
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """This thread, and what it starts, is on that host's network inside the context."""
    with (
        Path("/proc/thread-self/ns/net").open("rb") as here,
        (_NAMES / namespace).open("rb") as there,
    ):
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(here.fileno())


def enter(namespace: str) -> None:
    """This thread, and what it starts, is on that host's network from now on."""
    with (_NAMES / namespace).open("rb") as there:
        _setns(there.fileno())


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise LabError(f"setns: {os.strerror(error)}")


class Network:
    """The namespaces of one lab, called `prefix`-host. The switch is one more, with a bridge."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def namespace(self, host: str) -> str:
        """The name that `ip netns` knows a host by."""
        return f"{self.prefix}-{host}"

    def build(self) -> None:
        """Create all hosts and connect them. Raises LabError."""
        switch = self.namespace("switch")
        run(
            "ip",
            "-batch",
            "-",
            text="\n".join(f"netns add {self.namespace(h)}" for h in [*HOSTS, "switch"]),
        )
        cables = [
            f"link add eth0 netns {self.namespace(h)} type veth peer name {h} netns {switch}"
            for h in HOSTS
        ]
        run("ip", "-batch", "-", text="\n".join(cables))
        ports = [line for h in HOSTS for line in (f"link set {h} master br0", f"link set {h} up")]
        run(
            "ip",
            "-n",
            switch,
            "-batch",
            "-",
            text="\n".join(["link add br0 type bridge", "link set br0 up", *ports]),
        )
        for host, address in HOSTS.items():
            lines = ("link set lo up", f"address add {address}/24 dev eth0", "link set eth0 up")
            run("ip", "-n", self.namespace(host), "-batch", "-", text="\n".join(lines))

    def destroy(self) -> None:
        """End every process in the namespaces but this one, and remove them."""
        hosts = [*HOSTS, "switch"]
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            pids = {pid for host in hosts for pid in self.pids(host)} - {os.getpid()}
            if not pids:
                break
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)
        for host in hosts:
            name = self.namespace(host)
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def pids(self, host: str) -> set[int]:
        """The processes on a host, of whatever program; none when there is no such host."""
        name = self.namespace(host)
        done = subprocess.run(
            ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
        )
        return set(map(int, done.stdout.split()))

    def on(self, host: str) -> list[str]:
        """What stands before a command that a host runs. The process keeps its pid, and no mount
        is held."""
        return ["nsenter", f"--net={_NAMES / self.namespace(host)}", "--"]

    def plug(self, host: str, *, up: bool) -> None:
        """Plug a host's cable in or out, at the switch."""
        run("ip", "-n", self.namespace("switch"), "link", "set", host, "up" if up else "down")

    def drop(self, receiver: str, sender: str) -> None:
        """`receiver` loses all that `sender` sends it."""
        self._rule("-A", receiver, sender)

    def undrop(self, receiver: str, sender: str) -> int:
        """Take that back; how many packets it has cost."""
        counted = run(*self.on(receiver), "iptables", "-w", "-nvxL", "INPUT")
        self._rule("-D", receiver, sender)
        lines = [line.split() for line in counted.splitlines() if HOSTS[sender] in line]
        return sum(int(line[0]) for line in lines)

    def _rule(self, how: str, receiver: str, sender: str) -> None:
        rule = ("INPUT", "-s", HOSTS[sender], "-j", "DROP")
        run(*self.on(receiver), "iptables", "-w", how, *rule)


def labs() -> list[str]:
    """The prefixes of all labs on this machine, also of those whose program has died."""
    if not _NAMES.is_dir():
        return []
    found = {re.match(r"(lab\d+)-", path.name) for path in _NAMES.iterdir()}
    return sorted({match[1] for match in found if match})


def owner_of(prefix: str) -> int:
    """The pid of the program that made a lab."""
    return int(prefix.removeprefix("lab"))
