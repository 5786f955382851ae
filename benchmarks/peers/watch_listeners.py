"""A process that holds the harness' listener swarm: every id accounted for. Lines in, JSON out.

    python -m benchmarks.peers.watch_listeners PORT LISTENERS

Prints a line when all streams are open. `until SEQ` answers once every listener
has everything up to SEQ, with the swarm's account and lags; `times FILE` writes
when the last listener had each change (first seq, then Unix µs, 8 bytes each).
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.peers.processes import answer_lines
from harness.engines.standalone import drive
from harness.engines.swarm import Swarm
from harness.engines.swarm_settings import SwarmSettings
from harness.net.sockets import raise_descriptor_limit
from stack.ports import HOST

CONVERGE_TIMEOUT_S = 60.0


def answer(swarm: Swarm, asked: str) -> dict[str, Any]:
    """What to say to a line. Raises ValueError for one that is not known."""
    what, _, argument = asked.partition(" ")
    if what == "until":
        target = int(argument)
        drive([swarm], lambda: swarm.converging_to >= target, timeout_s=CONVERGE_TIMEOUT_S)
        swarm.settle(everything=True)
        lag = swarm.series.merged("lag")
        return {
            "account": msgspec.to_builtins(swarm.account(target), str_keys=True),
            "lags": lag.total,
            "lag_p50_ms": lag.value_at(0.5) / 1000 if lag.total else None,
            "lag_p99_ms": lag.value_at(0.99) / 1000 if lag.total else None,
        }
    if what == "times":
        with Path(argument).open("wb") as file:
            file.write(swarm.table.base.to_bytes(8, "little", signed=True))
            file.write(swarm.table.last_us.tobytes())
        return {"events": len(swarm.table.last_us)}
    raise ValueError(what)


def main() -> None:
    """Open, say so, watch until stdin ends."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    raise_descriptor_limit()
    swarm = Swarm(
        SwarmSettings(
            address=(HOST, port),
            host_header=f"{HOST}:{port}",
            listeners=count,
            start_unix_ns=time.time_ns(),
            connect_per_s=2000,
            # Every browser's EventSource does, and most libraries.
            gzip_every=1,
        )
    )
    if not drive([swarm], lambda: swarm.converging_to >= 0, timeout_s=CONVERGE_TIMEOUT_S):
        raise RuntimeError(f"only {swarm.streaming} of {count} streams opened")
    print(json.dumps({"open": swarm.streaming}), flush=True)
    answer_lines(swarm, lambda line: answer(swarm, line))


if __name__ == "__main__":
    main()
