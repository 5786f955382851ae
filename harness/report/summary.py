"""The few lines a person reads at the end of a run. Made from the result document only."""

from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from harness.measure.listener_cost import cost_words
from harness.measure.terminal import Ink, duration, number

ELSEWHERE_TOLD = 0.1
"""Cores; below it lies the noise of sampling."""
ROWS = (
    ("response", "response", "intended send to 2xx"),
    ("service", "service", "actual send to 2xx"),
    ("lag", "lag", "commit to each listener"),
    ("reach_last", "last listener", "commit to the last of them"),
    ("submit_deliver_median", "submit → seen", "intended send to the median listener"),
)


def print_summary(document: Mapping[str, Any], out: TextIO, path: str) -> None:
    """Write the summary of a result document."""
    out.write("\n".join(lines(document, Ink(out), path)) + "\n")


def lines(document: Mapping[str, Any], ink: Ink, path: str) -> Iterator[str]:
    """The summary, line by line."""
    figures, counts, settings = document["figures"], document["counts"], document["settings"]
    window = document["window"]
    length = window["end"] - window["start"]
    yield ""
    yield ink.bold(f"  {document['run_id']}") + ink.dim(
        f"   {document['target']}   {length} s after {settings['warmup_s']:g} s of warm-up"
    )
    yield ""
    if counts.get("intended"):
        bad = [
            f"{number(counts[name])} {word}"
            for name, word in (("fail", "refused"), ("unknown", "unknown"), ("dropped", "dropped"))
            if counts.get(name)
        ]
        yield (
            f"  submissions  {number(figures['goodput'])}/s accepted of "
            f"{number(figures['rate'])}/s intended, {number(counts.get('ok', 0))} in all"
            + (ink.warn(f"; {', '.join(bad)}") if bad else "; none refused, lost or dropped")
        )
    swarms = [m["status"] for m in document["members"] if m["kind"] == "swarm"]
    if swarms:
        listeners = sum(status.get("listeners", 0) for status in swarms)
        deliveries = counts.get("deliveries", 0)
        yield (
            f"  listeners    {number(listeners)} connected, "
            f"{number(deliveries / max(1, length))} events/s delivered, "
            f"{counts.get('bytes', 0) / max(1, length) / 1e6:.1f} MB/s"
        )
        if told := cost_words(document):
            yield f"  {'swarm':13}" + ", ".join(
                f"{name} {figure if within else ink.warn(figure)}" for name, figure, within in told
            )
    yield ""
    yield ink.dim(f"  {'':15}{'p50':>9}{'p90':>9}{'p99':>9}{'p99.9':>9}{'max':>9}")
    for key, title, meaning in ROWS:
        if figures.get(f"{key}_max") is None:
            continue
        cells = "".join(
            f"{duration(figures[f'{key}_{q}']):>9}" for q in ("p50", "p90", "p99", "p999", "max")
        )
        yield f"  {title:15}{cells}   {ink.dim(meaning)}"
    resources = document["resources"]
    if resources["cores"]:
        yield ""
        cores = sorted(resources["cores"].items(), key=lambda pair: -pair[1])
        stack = [f"{name} {used:.2f}" for name, used in cores if not name.startswith("harness ")]
        yield (
            f"  {'cores':13}{', '.join(stack) + '; ' if stack else ''}"
            f"harness {resources['harness_share']:.0%} of the machine"
        )
        if resources["elsewhere"] >= ELSEWHERE_TOLD:
            yield (
                f"  {'disturbed':13}"
                + ink.warn(f"{resources['elsewhere']:.2f} cores were busy with other programs")
            )
        yield f"  {'bottleneck':13}{resources['bottleneck']}"
    for fault in document.get("faults", ()):
        yield ink.warn(f"  {'fault':13}{fault['name']} at {fault['start']} to {fault['end']} s")
    if ceiling := document.get("ceiling"):
        yield (
            f"  {'ceiling':13}{number(ceiling['per_core'])}/s per core is what this generator "
            "could send at most"
        )
    yield ""
    verdict = document["verdict"]
    of = "p99" if figures.get("late_p99") is not None else "max"
    late = f"generator late by {duration(figures.get(f'late_{of}'))} ({of})"
    yield _line(ink, verdict["valid"], "valid", verdict["invalid"], late)
    good = "; ".join(_good_words(finding) for finding in document["findings"])
    yield _line(ink, verdict["correct"], "correct", verdict["incorrect"], good)
    if verdict["limits"]:
        broken = [
            f"{kept['limit']} measured {_measured(kept)}"
            for kept in verdict["limits"]
            if not kept["kept"]
        ]
        held = ", ".join(kept["limit"] for kept in verdict["limits"])
        yield _line(ink, verdict["within_slo"], "within SLO", broken, held)
    yield ""
    yield ink.dim(f"  {path}   report: {path.removesuffix('.json')}.html")


def _measured(kept: Mapping[str, Any]) -> str:
    value = kept["measured"]
    if value is None:
        return "too little"
    if kept["limit"].endswith("%"):
        return f"{value:.3%}"
    return (
        duration(value)
        if kept["limit"].endswith("s") and "/s" not in kept["limit"]
        else f"{value:,.1f}"
    )


def _line(ink: Ink, good: bool, word: str, problems: list[str], praise: str) -> str:
    if good:
        return f"  {ink.good('✓')} {ink.bold(word):<12}  {praise}"
    return "\n".join(
        [
            f"  {ink.bad('✗')} {ink.bold('not ' + word):<12}  {problems[0]}",
            *(f"      {problem}" for problem in problems[1:6]),
        ]
    )


def _good_words(finding: Mapping[str, Any]) -> str:
    counts = finding["counts"]
    if finding["witness"] == "listeners":
        return f"all {number(counts.get('listeners', 0))} listeners end at the last change, no gap"
    unknown = counts.get("unknown", 0)
    words = (
        f"{number(counts['acknowledged'])} acknowledged, each applied once ({finding['witness']})"
    )
    if unknown:
        settled = number(counts.get("unknown_applied", 0))
        words += f", {number(unknown)} unknown, {settled} of them applied"
    return words
