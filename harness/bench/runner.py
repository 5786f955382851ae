"""Times the benchmark cases of one tree, once, as JSON on stdout. Run as a file, not imported.

`python <this file> <folder of the tree> [case …]` imports that tree's own
`benchmarks`, so base and head are each measured by the same clock and their own
code. Per case: the least time of several blocks in ns per call (the least is
what the code costs, the rest is what the machine added), and two counts that do
not depend on the machine: function calls, and peak bytes allocated. `--slower`
and `--one-more-call` plant a regression, which the gate must find.
"""

import argparse
import gc
import importlib
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

MODULES = ("benchmarks.core", "benchmarks.api", "benchmarks.harness")
BLOCKS = 7
BLOCK_S = 0.03


def least_ns(work: Callable[[], Any]) -> float:
    """The least mean time of a call over blocks of about 30 ms."""
    clock = time.perf_counter_ns
    work()
    start = clock()
    work()
    calls = max(1, int(BLOCK_S * 1e9 / max(1, clock() - start)))
    times = []
    for _ in range(BLOCKS):
        start = clock()
        for _ in range(calls):
            work()
        times.append((clock() - start) / calls)
    return min(times)


def count_calls(work: Callable[[], Any]) -> int:
    """Python and C functions called, the same on every machine."""
    calls = 0

    def watch(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def peak_bytes(work: Callable[[], Any]) -> int:
    """Most memory held at once during a call, beyond what was there before."""
    work()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


def slowed(work: Callable[[], Any], share: float) -> Callable[[], Any]:
    """The work, and a share of its time more, burnt within the call."""
    clock = time.perf_counter_ns

    def slower() -> Any:
        start = clock()
        result = work()
        end = clock()
        end += int((end - start) * share)
        while clock() < end:
            pass
        return result

    return slower


def one_call_more(work: Callable[[], Any]) -> Callable[[], Any]:
    """The work within a function of its own."""

    def caller() -> Any:
        return work()

    return caller


def main(folder: str, names: list[str], *, slower: float, one_more_call: bool) -> None:
    """Measure the named cases, or all, with what is planted into the time or the count."""
    sys.path.insert(0, folder)
    found: dict[str, dict[str, float]] = {}
    gc.disable()
    for module_name in MODULES:
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name not in (module_name, module_name.partition(".")[0]):
                raise
            # An older tree has fewer.
            continue
        for case in module.CASES:
            if names and case.name not in names:
                continue
            work, check = case.prepare(case.size)
            check(work())
            called = one_call_more(work) if one_more_call else work
            found[case.name] = {
                "ns": least_ns(slowed(work, slower) if slower else work),
                "calls": count_calls(called),
                "peak_bytes": peak_bytes(work),
            }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--slower", type=float, default=0.0)
    parser.add_argument("--one-more-call", action="store_true")
    asked = parser.parse_args()
    main(asked.folder, asked.names, slower=asked.slower, one_more_call=asked.one_more_call)
