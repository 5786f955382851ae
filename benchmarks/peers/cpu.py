"""What processes cost: CPU seconds and memory from /proc, with all their children."""

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def family(pids: Iterable[int]) -> set[int]:
    """The processes and all that descend from them, as far as they live."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    found = {pid for pid in pids if pid in parents}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """User and system CPU seconds of these processes so far, collected children included.

    Resolution 10 ms: measure over seconds.
    """
    total = 0
    for pid in family(pids):
        if fields := _stat(pid):
            total += sum(int(fields[index]) for index in range(11, 15))
    return total / _TICKS_PER_S


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory of these processes; pages they share count several times."""
    total = 0
    for pid in family(pids):
        if fields := _stat(pid):
            total += int(fields[21]) * _PAGE_BYTES
    return total


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the third, `state`, on; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the name in brackets and may hold anything.
    return text.rpartition(")")[2].split()
