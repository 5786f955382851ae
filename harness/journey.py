"""Follows each submission from its intended send to the listeners, after the run. Pure.

Neither end knows the other: the sender knows submissions, the listeners know
seqs. The ledger joins them, so this needs MySQL as a witness.
"""

import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.reconcile import Attempt, LedgerRow

COLUMNS = ("first_us", "median_us", "last_us", "reached")
EVENTS_SENT_MAX = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Reach:
    """When seqs from `base` on had reached the first, median and last listener of one swarm.

    Unix µs; 0 where nobody had it.
    """

    base: int
    columns: Mapping[str, Sequence[int]]

    def to_wire(self) -> dict[str, Any]:
        """Compressed, for the last report of a worker; empty when it would be too large."""
        count = len(self.columns["reached"])
        if self.base < 0 or count > EVENTS_SENT_MAX:
            return {}
        return {
            "base": self.base,
            **{
                name: zlib.compress(np.asarray(self.columns[name], dtype=np.int64).tobytes(), 1)
                for name in COLUMNS
            },
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "Reach":
        """What `to_wire` wrote; without events when that was empty."""
        if not wire:
            return cls(base=-1, columns={name: array("q") for name in COLUMNS})
        return cls(
            base=int(wire["base"]),
            columns={name: array("q", zlib.decompress(wire[name])) for name in COLUMNS},
        )

    def at(self, seq: int) -> tuple[int, int, int] | None:
        """First, median and last time of a seq, None when nobody had it."""
        position = seq - self.base
        if self.base < 0 or not 0 <= position < len(self.columns["reached"]):
            return None
        if not self.columns["reached"][position]:
            return None
        return (
            self.columns["first_us"][position],
            self.columns["median_us"][position],
            self.columns["last_us"][position],
        )


def journeys(
    attempts: Iterable[Attempt],
    rows: Iterable[LedgerRow],
    due_us: Mapping[int, int],
    reaches: Sequence[Reach],
) -> Iterable[tuple[int, int, int, int]]:
    """For each submission that listeners saw: due (Unix µs), then µs to first, median, last.

    Over several swarms the median is the latest of theirs: never better than the truth.
    """
    seqs = {row.submission_id: row.seq for row in rows if row.seq is not None}
    for attempt in attempts:
        seq = seqs.get(attempt.submission_id) if attempt.submission_id else None
        due = due_us.get(attempt.number)
        if seq is None or due is None:
            continue
        times = [found for reach in reaches if (found := reach.at(seq)) is not None]
        if times:
            yield (
                due,
                min(t[0] for t in times) - due,
                max(t[1] for t in times) - due,
                max(t[2] for t in times) - due,
            )
