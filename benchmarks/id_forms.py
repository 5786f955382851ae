"""Time and memory of reading events by the form of their ids: `python -m benchmarks.id_forms`.

Whatever the ids say, an event must cost the same. Each form is read in a process of its own,
100,000 events by ten listeners. Not a test of the server: the bytes are made here.
"""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from harness.engines.by_content.deliveries import ContentDeliveries
from harness.engines.span_figures import SpanFigures
from harness.measure.series import Series

EVENTS, BATCH, LISTENERS, USERS = 100_000, 100, 10, 1000
FORMS: dict[str, Callable[[int], bytes]] = {
    "no ids": lambda _: b"",
    "gapless": lambda n: b"id: %d\n" % n,
    "one of 10^17": lambda n: b"id: %d\n" % (10**17 if n == EVENTS // 2 else n),
    "milliseconds": lambda n: b"id: %d\n" % (1_764_000_000_000 + 3 * n),
    "snowflakes": lambda n: b"id: %d\n" % ((1 << 60) + (n << 22)),
    "negative": lambda n: b"id: -%d\n" % n,
    "Redis ids": lambda n: b"id: %d-0\n" % (1_764_000_000_000 + n),
    "UUIDs": lambda n: b"id: %b\n" % str(uuid.UUID(int=n)).encode(),
}


def read(form: str) -> tuple[float, float]:
    """µs per event and MiB grown over all events of a form, in this process."""
    make = FORMS[form]
    accounts = ContentDeliveries(LISTENERS, limit=2 * EVENTS)
    figures = SpanFigures(Series(), accounts.table, start_unix_ns=0, by_content=True)
    for index in range(LISTENERS):
        accounts.opened(index)
    before = _resident_mib()
    spent_ns = 0
    for start in range(1, EVENTS + 1, BATCH):
        payload = b"".join(
            b'%bevent: update\ndata: {"user":"User%05d","score":%d}\n\n' % (make(n), n % USERS, n)
            for n in range(start, start + BATCH)
        )
        began = time.perf_counter_ns()
        for index in range(LISTENERS):
            span, _ = figures.span_of(payload, 0)
            if accounts.deliver(index, span, 1):
                span.arrived.append(1)
                span.noticed.append(1)
        figures.settle(now_unix_ns=0, listeners=LISTENERS)
        accounts.take_records()
        spent_ns += time.perf_counter_ns() - began
    return spent_ns / 1000 / EVENTS, _resident_mib() - before


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096 / 2**20


def main() -> None:
    """Print a row per form, or with a form's name its two figures."""
    if len(sys.argv) > 1:
        print(*read(sys.argv[1]))
        return
    print(f"{'ids':<16}{'µs/event':>10}{'MiB/100,000 events':>22}")
    for form in FORMS:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.id_forms", form],
            capture_output=True,
            text=True,
            check=True,
        )
        us, mib = map(float, done.stdout.split())
        print(f"{form:<16}{us:>10.1f}{mib:>22.1f}")


if __name__ == "__main__":
    main()
