"""The results of a run as lines, as JSON and as the table in RESULTS.md."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.peers import picture
from benchmarks.peers.targets import TARGETS, Result, Samples, Target, judge
from harness.measure.machine import commit_of
from harness.report.results_document import replace_section

VERSION = 1
BESIDE = {
    "rate": "accepted submissions/s under the same load",
    "answer_p50_ms": "answer, p50, ms",
    "answer_p90_ms": "answer, p90, ms",
    "to_last_p50_ms": "submit → last listener, p50, ms",
    "to_last_p90_ms": "submit → last listener, p90, ms",
    "server_cores": "CPU of server and worker, cores",
    "services_cores": "CPU of MySQL, Redis and Temporal, cores",
}
SIDES = ("ours", "literal")
SECTION, OPENING = "peers", "everyday"
"""The names of the sections in RESULTS.md, and of the files kept for them."""


def number(value: float | None) -> str:
    """Three significant digits, thousands with a comma."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.1g}"


def judged(result: Result) -> str:
    """The median, with as many digits as tell it from the bound."""
    bound = result.target.bound
    text = number(result.median)
    if result.median is None or result.median == bound or text != number(bound):
        return text
    digits = 4
    while float(text := f"{result.median:.{digits}g}") == bound:
        digits += 1
    return text


def _bound(target: Target) -> str:
    return f"{'≤' if target.at_most else '≥'} {number(target.bound)} {target.unit}"


def line(result: Result) -> str:
    """One target in a line for people."""
    target = result.target
    verdict = result.verdict.upper() if result.met is False else result.verdict
    spread = f"{number(result.low)} to {number(result.high)} in {result.rounds} rounds"
    if result.missing:
        spread += f", {result.missing} more without a figure"
    if result.median is None:
        return f"{verdict:12} {target.what} ({_bound(target)})"
    return (
        f"{verdict:12} {target.what}: {judged(result)} {target.unit} ({_bound(target)}; {spread})"
    )


def document(
    samples: Samples,
    details: Mapping[str, Any],
    failures: Sequence[str],
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything a run found."""
    return {
        "version": VERSION,
        "machine": machine,
        "settings": settings,
        "samples": samples,
        "details": details,
        "failures": list(failures),
    }


def merged(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Runs of some groups each as one; of a figure that two have, the first one's counts.

    Ratios stay those of rounds of one run as long as a group was measured in one. Each part keeps
    the machine, commit and rounds that its figures come from.
    """
    whole: dict[str, Any] = {**documents[0], "samples": {}, "details": {}, "failures": []}
    parts = []
    for each in documents:
        fresh = [name for name in each["samples"] if name not in whole["samples"]]
        for key in ("samples", "details"):
            whole[key].update({n: each[key][n] for n in fresh if n in each[key]})
        # Parts of one merge have the same ones.
        whole["failures"] += [
            text for text in each.get("failures", []) if text not in whole["failures"]
        ]
        parts += _parts(each, fresh)
    groups = {group for each in documents for group in each["settings"]["groups"]}
    whole["settings"] = {**whole["settings"], "groups": sorted(groups), "parts": parts}
    return whole


def _parts(document: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """What these samples of a document come from: those of its parts that hold any of them."""
    kinds = sorted({name.partition("/")[0] for name in names})
    settings = document["settings"]
    own = {
        "figures": kinds,
        "rounds": settings["rounds"],
        "load_before": settings["load_before"],
        "machine": document["machine"],
    }
    found = []
    for part in settings.get("parts", [own]):
        kept = [kind for kind in part["figures"] if kind in kinds]
        if kept:
            found.append({**part, "figures": kept})
    return found


def divided(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The everyday group as a document of its own, and what else there is."""
    return (
        _restricted(document, [g for g in document["settings"]["groups"] if g == OPENING]),
        _restricted(document, [g for g in document["settings"]["groups"] if g != OPENING]),
    )


def _restricted(document: Mapping[str, Any], groups: Sequence[str]) -> dict[str, Any]:
    everyday = OPENING in groups
    names = [n for n in document["samples"] if n.startswith(f"{OPENING} ") == everyday]
    settings = {**document["settings"], "groups": groups}
    if "parts" in settings:
        settings["parts"] = _parts(document, names)
    return {
        **document,
        "settings": settings,
        "samples": {n: document["samples"][n] for n in names},
        "details": {n: document["details"][n] for n in names if n in document["details"]},
    }


def results_of(document: Mapping[str, Any]) -> list[Result]:
    """The judged targets of the groups that were measured."""
    groups = document["settings"]["groups"]
    return [judge(target, document["samples"]) for target in TARGETS if target.group in groups]


def to_json(document: Mapping[str, Any]) -> str:
    """The document with its judged targets."""
    targets = []
    for result in results_of(document):
        figures = asdict(result)
        targets.append({**figures.pop("target"), **figures, "met": result.met})
    return json.dumps({**document, "targets": targets}, indent=1, ensure_ascii=False) + "\n"


def beside(document: Mapping[str, Any]) -> list[str]:
    """The table of ours beside the literal server, when both were measured."""
    samples, details = document["samples"], document["details"]

    def row(what: str, name: str) -> str:
        cells = []
        for side in SIDES:
            known = [value for value in samples.get(name.format(side), ()) if value is not None]
            cells.append(number(median(known)) if known else "–")
        return f"| {what} | {' | '.join(cells)} |"

    def verdicts(case: str) -> str:
        cells = []
        for side in SIDES:
            runs = details.get(f"beside/{side}/{case}/rate", ())
            told = Counter(run["verdict"] for run in runs)
            cells.append(", ".join(f"{count} × {text}" for text, count in told.items()) or "–")
        return f"| verdicts, {case} | {' | '.join(cells)} |"

    if not any(name.startswith("beside/") for name in samples):
        return []
    lines = [
        "",
        "This server beside [the literal one in Go](benchmarks/peers/literal/README.md), the same"
        " load in the same rounds: half of what the literal server takes, 100 listeners. *Worker"
        " killed*: two workers, one of them ended by `kill -9` in the middle.",
        "",
        "| | this server | literal, Go |",
        "|---|---|---|",
        row("most accepted and applied submissions/s", "beside/{}/throughput"),
    ]
    for case in ("undisturbed", "worker killed"):
        for attribute, what in BESIDE.items():
            lines.append(row(f"{what}, {case}", f"beside/{{}}/{case}/{attribute}"))
        lines.append(verdicts(case))
    return lines


def head(document: Mapping[str, Any]) -> str:
    """Machine, revision and rounds; those of each part where there are several."""
    settings = document["settings"]
    parts = settings.get("parts", ())
    if not parts:
        told = f"{settings['rounds']} interleaved rounds, commit {commit_of(document['machine'])}"
        text = f"{_machine(document['machine'])}; {told}"
        load = f"load average before the run {settings['load_before']:.2f}"
    else:
        machines = {_machine(part["machine"]) for part in parts}
        told = "; ".join(_part(part, whole=len(machines) > 1) for part in parts)
        text = f"{machines.pop() if len(machines) == 1 else 'several machines'}; in parts ({told})"
        load = "load averages before them " + ", ".join(
            sorted({f"{part['load_before']:.2f}" for part in parts})
        )
    return f"{text}; {load}; services and load generator on the same machine"


def _machine(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['cpus']} × {machine['cpu']}, {machine['memory_mib']} MiB, Linux"
        f" {machine['kernel']}, Python {machine['python']}"
    )


def _part(part: Mapping[str, Any], *, whole: bool) -> str:
    machine = part["machine"]
    where = f", on {_machine(machine)}" if whole else ""
    rounds = f"{part['rounds']} rounds, commit {commit_of(machine)}"
    return f"{', '.join(part['figures'])}: {rounds}{where}"


def _targets(document: Mapping[str, Any]) -> list[str]:
    """The judged targets as a table."""
    lines = ["| figure | target | median | spread | verdict |", "|---|---|---|---|---|"]
    for result in results_of(document):
        target = result.target
        missing = f" in {result.rounds} of {result.rounds + result.missing} rounds"
        spread = f"{number(result.low)} – {number(result.high)}{missing if result.missing else ''}"
        cells = f"**{judged(result)}** | {spread}" if result.met is not None else "– | –"
        lines.append(f"| {target.what} | {_bound(target)} | {cells} | {result.verdict} |")
    return lines


def opening(document: Mapping[str, Any], file: str, image: str) -> str:
    """The section that RESULTS.md opens with: the picture and its figures."""
    return "\n".join(
        (
            "## Latency over offered load",
            "",
            f"![{picture.TITLE}]({image})",
            "",
            "Each peer on the same services, one after the other in each round; a curve ends where"
            " its peer no longer keeps up. *Redis alone* loses what it has not synced when it"
            " dies, and *token check only* stores nothing. p50 / p99 of an accepted submission,"
            " and the cores of server and services:",
            "",
            *picture.table(document["samples"]),
            "",
            *_targets(document),
            "",
            f"`make bench-peers` on {head(document)}. Result file: [`{file}`]({file}).",
        )
    )


def opened_with(text: str, body: str) -> str:
    """RESULTS.md with the opening section, which stands before all others."""
    if f"<!-- begin:{OPENING} -->" not in text:
        first = re.search(r"^(## |<!-- begin)", text, re.MULTILINE)
        at = first.start() if first else len(text)
        text = f"{text[:at]}<!-- begin:{OPENING} --><!-- end:{OPENING} -->\n\n{text[at:]}"
    return replace_section(text, OPENING, body)


def markdown(document: Mapping[str, Any], file: str) -> str:
    """The section of RESULTS.md; `file` is where the figures are kept."""
    samples = document["samples"]
    lines = [
        "## Comparison with alternative designs",
        "",
        f"`make bench-peers` on {head(document)}. [benchmarks/README.md](benchmarks/README.md)"
        f" describes the peers. Result file: [`{file}`]({file}).",
        "",
        *_targets(document),
    ]
    if document["failures"]:
        lines += ["", "Rounds without a figure, because some answers were wrong:", ""]
        lines += [f"- {failure}" for failure in document["failures"]]
    lines += beside(document)
    lines += [
        "",
        "Figures behind the ratios:",
        "",
        "| figure | median | spread |",
        "|---|---|---|",
    ]
    for name, values in samples.items():
        known = [value for value in values if value is not None]
        if known and not name.startswith("beside/"):
            lines.append(
                f"| {name} | {number(median(known))} |"
                f" {number(min(known))} – {number(max(known))} |"
            )
    return "\n".join(lines)
