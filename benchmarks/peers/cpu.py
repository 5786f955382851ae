"""What processes cost: CPU seconds, memory and writes, with all their children."""

from collections.abc import Callable, Iterable

import psutil


def cpu_s(pids: Iterable[int]) -> float:
    """User and system CPU seconds of these processes so far, collected children included.

    Resolution 10 ms: measure over seconds.
    """
    return _total(pids, lambda process: float(sum(process.cpu_times()[:4])))


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory of these processes; pages they share count several times."""
    return int(_total(pids, lambda process: process.memory_info().rss))


def written_bytes(pids: Iterable[int]) -> int | None:
    """What these processes have written to disks so far, as the kernel counts it; None where it
    does not tell. What a service flushes later counts then."""
    try:
        return int(_total(pids, lambda process: process.io_counters().write_bytes))
    except (AttributeError, psutil.AccessDenied):
        # Not on macOS; elsewhere only for one's own processes.
        return None


def _total(pids: Iterable[int], figure: Callable[[psutil.Process], float]) -> float:
    """The sum over the processes and all that descend from them, as far as they live."""
    total, seen = 0.0, set[psutil.Process]()
    for pid in pids:
        try:
            root = psutil.Process(pid)
            family = {root, *root.children(recursive=True)} - seen
        except psutil.NoSuchProcess:
            continue
        seen |= family
        for process in family:
            try:
                total += figure(process)
            except psutil.NoSuchProcess:
                continue
    return total
