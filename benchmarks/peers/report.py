"""The results of a run as lines, as JSON and as the table in RESULTS.md."""

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.peers.targets import Result, Samples
from harness.machine import commit_of

VERSION = 1
SECTION = "peers"
"""The name of the section in RESULTS.md and of the file kept for it."""


def number(value: float | None) -> str:
    """Three significant digits, thousands with a comma."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.1g}"


def line(result: Result) -> str:
    """One target in a line for people."""
    target = result.target
    bound = f"{'≤' if target.at_most else '≥'} {number(target.bound)} {target.unit}"
    verdict = "met   " if result.met else "MISSED"
    spread = f"{number(result.low)} to {number(result.high)} in {result.rounds} rounds"
    if result.median is None:
        spread = "not measured"
    return f"{verdict} {target.what}: {number(result.median)} {target.unit} ({bound}; {spread})"


def to_json(
    results: Sequence[Result],
    samples: Samples,
    details: Mapping[str, Any],
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> str:
    """Everything the run found, one document."""
    return json.dumps(
        {
            "version": VERSION,
            "machine": machine,
            "settings": settings,
            "samples": samples,
            "details": details,
            "targets": [
                {
                    "what": result.target.what,
                    "figure": result.target.figure,
                    "against": result.target.against,
                    "bound": result.target.bound,
                    "at_most": result.target.at_most,
                    "unit": result.target.unit,
                    "median": result.median,
                    "low": result.low,
                    "high": result.high,
                    "rounds": result.rounds,
                    "met": result.met,
                }
                for result in results
            ],
        },
        indent=1,
        ensure_ascii=False,
    )


def markdown(
    results: Sequence[Result],
    samples: Samples,
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
    file: str,
) -> str:
    """The section of RESULTS.md; `file` is where the figures are kept."""
    lines = [
        "## Beside other ways to do it",
        "",
        f"`make bench-peers` on {machine['cpus']} × {machine['cpu']}, {machine['memory_mib']} MiB,"
        f" Linux {machine['kernel']}, Python {machine['python']}, commit {commit_of(machine)};"
        f" {settings['rounds']} interleaved rounds; load before the run"
        f" {settings['load_before']:.2f}; all parts and the load generator on the same"
        f" machine. `benchmarks/README.md` describes the peers. Result file: [`{file}`]({file}).",
        "",
        "| what | target | median | spread | |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        target = result.target
        bound = f"{'≤' if target.at_most else '≥'} {number(target.bound)} {target.unit}"
        lines.append(
            f"| {target.what} | {bound} | **{number(result.median)}** |"
            f" {number(result.low)} – {number(result.high)} |"
            f" {'met' if result.met else 'missed'} |"
        )
    lines += [
        "",
        "What the ratios are made of:",
        "",
        "| figure | median | spread |",
        "|---|---|---|",
    ]
    for name, values in samples.items():
        known = [value for value in values if value is not None]
        if known:
            lines.append(
                f"| {name} | {number(median(known))} |"
                f" {number(min(known))} – {number(max(known))} |"
            )
    return "\n".join(lines)
