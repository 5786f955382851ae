"""The harness' own cost of listening: CPU per read and memory per listener. Pure.

The promise is 10,000 listeners in one process, under 1 KiB of its memory each and
at most 10 µs of its CPU for each read that delivered something.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from harness.report.document import Member

US_PER_READ_TARGET = 10.0
KIB_PER_LISTENER_TARGET = 1.0
READS_MIN = 50_000
"""With fewer reads, the fixed work of each second would dominate."""
LISTENERS_MIN = 500
"""Fewer listeners take less memory than an interpreter's own growth and shrinkage."""


class ListenerCost(msgspec.Struct, frozen=True, kw_only=True):
    """The harness' own cost of listening; None where it cannot be measured."""

    us_per_read: float | None = None
    kib_per_listener: float | None = None


def listener_cost(members: "Sequence[Member]", *, cpu_us: int, reads: int) -> ListenerCost:
    """µs of CPU per read and KiB of memory per listener over all listener pools of a run.

    `cpu_us` and `reads` are those of the measured
    window. None for what cannot be told: CPU of a process that sends submissions too
    or of few reads, memory of few listeners.
    """
    pools = [m for m in members if m.kind == "listeners"]
    senders = {(m.host, m.pid) for m in members if m.kind != "listeners"}
    shared = any((m.host, m.pid) in senders for m in pools)
    grown_kib: list[Any] = [m.status.get("grown_kib") for m in pools]
    listeners = sum(int(m.status.get("listeners", 0)) for m in pools)
    told = None not in grown_kib and listeners >= LISTENERS_MIN
    return ListenerCost(
        us_per_read=cpu_us / reads if reads >= READS_MIN and not shared else None,
        kib_per_listener=sum(grown_kib) / listeners if told else None,
    )


def cost_words(cost: ListenerCost) -> list[tuple[str, str, bool]]:
    """Triples (name, figure, within its target) of the measured costs."""
    words = []
    if (us := cost.us_per_read) is not None:
        words.append(("CPU per delivered read", f"{us:.1f} µs", us <= US_PER_READ_TARGET))
    if (kib := cost.kib_per_listener) is not None:
        words.append(("memory per listener", f"{kib:.2f} KiB", kib < KIB_PER_LISTENER_TARGET))
    return words
