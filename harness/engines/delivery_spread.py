"""Broadcast completion per event: when the first, median and last listener of a swarm had it.

Times only; the content of events is in `event_table`.
"""

import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

COLUMNS = ("committed_us", "first_us", "median_us", "last_us", "reached")
EVENTS_SENT_MAX = 2_000_000


@dataclass(frozen=True, kw_only=True)
class DeliverySpread:
    """Times at which seqs from `base` on reached the first, median and last listener of a swarm.

    Unix µs; 0 for an event without a listener. `left_out` counts events beyond the size limit.
    `process` is whose: where events have no ids to follow, each process has numbers of its own.
    """

    base: int
    columns: Mapping[str, Sequence[int]]
    left_out: int = 0
    process: str = ""

    def to_wire(self) -> dict[str, Any]:
        """Compressed columns for a worker's last report; only a count above the size limit."""
        count = len(self.columns["reached"])
        if self.base < 0 or count > EVENTS_SENT_MAX:
            return {"left_out": count}
        return {
            "base": self.base,
            **{
                name: zlib.compress(np.asarray(self.columns[name], dtype=np.int64).tobytes(), 1)
                for name in COLUMNS
            },
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], process: str = "") -> "DeliverySpread":
        """The inverse of `to_wire`; empty when only a count was sent."""
        if "base" not in wire:
            nothing = {name: array("q") for name in COLUMNS}
            return cls(base=-1, columns=nothing, left_out=wire.get("left_out", 0), process=process)
        return cls(
            base=int(wire["base"]),
            columns={name: array("q", zlib.decompress(wire[name])) for name in COLUMNS},
            process=process,
        )

    def at(self, seq: int) -> tuple[int, int, int] | None:
        """First, median and last time of a seq, None when no listener had it."""
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
