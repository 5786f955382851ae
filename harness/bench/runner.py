"""Times the benchmark cases of one tree, once, as JSON on stdout. Run as a file, not imported.

`python <this file> <folder of the tree> [case …]` imports that tree's own
`benchmarks`, so base and head are each measured by the same clock and their own
code. Per case: the least time of several blocks in ns per call (the least is
what the code costs, the rest is what the machine added), and two counts that do
not depend on the machine: function calls, and peak bytes allocated. With `--mark`
nothing is timed: each case runs between two marks for callgrind, and stdout tells
how often. `--spins` and `--one-more-call` plant a regression, which the gate must find.
"""

import argparse
import gc
import importlib
import json
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MODULES = ("benchmarks.core", "benchmarks.api", "benchmarks.harness")
BLOCKS = 100
BLOCK_S = 0.002
WARM_UPS = 3
MARKED_CALLS = 5


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


def slowed(work: Callable[[], Any], spins: int) -> Callable[[], Any]:
    """The work, and an empty loop of so many turns more."""

    def slower() -> Any:
        result = work()
        for _ in range(spins):
            pass
        return result

    return slower


def one_call_more(work: Callable[[], Any]) -> Callable[[], Any]:
    """The work within a function of its own."""

    def caller() -> Any:
        return work()

    return caller


def mark_calls(work: Callable[[], Any]) -> int:
    """Runs the warm work between marks, calls that callgrind sees; returns how often."""
    for _ in range(WARM_UPS):
        work()
    for _ in range(MARKED_CALLS):
        os.getppid()
        work()
        os.getppid()
    return MARKED_CALLS


def cases_of(names: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The named cases, or all, with their work prepared and its answer checked."""
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
            yield case.name, work


def main(
    folder: str, names: list[str], *, mark: bool, spins: Mapping[str, int], one_more_call: bool
) -> None:
    """Measure the named cases, or all, with what is planted into the time or the count."""
    sys.path.insert(0, folder)
    found: dict[str, Any] = {}
    gc.disable()
    for name, work in cases_of(names):
        timed = slowed(work, spins[name]) if name in spins else work
        if mark:
            found[name] = mark_calls(timed)
            continue
        found[name] = {
            "ns": least_ns(timed),
            "calls": count_calls(one_call_more(work) if one_more_call else work),
            "peak_bytes": peak_bytes(work),
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--mark", action="store_true")
    parser.add_argument("--spins", type=json.loads, default={}, help="JSON: turns by case.")
    parser.add_argument("--one-more-call", action="store_true")
    main(**vars(parser.parse_args()))
