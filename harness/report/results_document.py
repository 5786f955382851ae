"""Renders the harness' sections of RESULTS.md from kept result documents.

Each section stands between `<!-- begin:name -->` and `<!-- end:name -->`;
everything outside is the author's. Figures cite the file they come from, which
is kept in docs/results/ beside its plots. Pure but for `keep_section`.
"""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness.measure.figures import DURATIONS, PERCENTILES
from harness.measure.settings import OPTIONS, RunSettings
from harness.measure.terminal import duration, number
from harness.report.charts import plots_of
from harness.report.document import (
    BenchProofResult,
    CapacityResult,
    LoadResult,
    LoadVerdict,
    Result,
    SelfTestResult,
    TroubleResult,
)
from harness.report.listener_cost import KIB_PER_LISTENER_TARGET, US_PER_READ_TARGET, cost_words
from harness.report.plots import Axis, Line, line_plot, standalone

KEPT = "docs/results"
CROWD_LISTENERS = 5000
"""A run with this many listeners measures fan-out and is not the headline for submissions."""
TITLE = "# Results\n\nEvery figure names the file and the command it comes from.\n"
TITLES = {
    "load": "Load: open-loop submissions and listeners",
    "crowd": "Load: fan-out to thousands of listeners",
}
ALWAYS_TOLD = ("rate", "listeners", "duration_s")
NEVER_TOLD = ("mysql_url", "label", "results")
"""Options that do not change the load."""
LOAD_PLOTS = ("rate", "response", "lag", "lag_heat", "cpu", "percentiles")


def replace_section(text: str, name: str, body: str) -> str:
    """The text with the section's content replaced, or the section added at the end."""
    block = f"<!-- begin:{name} -->\n{body.strip()}\n<!-- end:{name} -->"
    pattern = re.compile(
        rf"<!-- begin:{re.escape(name)} -->.*?<!-- end:{re.escape(name)} -->", re.DOTALL
    )
    if pattern.search(text):
        return pattern.sub(lambda _: block, text)
    return text.rstrip() + "\n\n" + block + "\n"


def keep_section(page: Path, name: str, document: Any, section: Callable[[str], str]) -> None:
    """Keep what a section is made of beside the page, and put the section into the page.

    `section` makes it, given the name of the kept file. Raises OSError.
    """
    file = f"{KEPT}/{name}.json"
    kept = page.parent / file
    kept.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(msgspec.to_builtins(document), indent=1, ensure_ascii=False)
    kept.write_text(text + "\n", "utf-8")
    before = page.read_text("utf-8") if page.exists() else TITLE
    page.write_text(replace_section(before, name, section(file)), "utf-8")


def slim(document: Result) -> Result:
    """The document without hosts, pids and paths of this machine; small enough to keep."""
    if not isinstance(document, LoadResult):
        return document
    return msgspec.structs.replace(
        document,
        members=[msgspec.structs.replace(m, host="", pid=0) for m in document.members],
        settings={k: v for k, v in document.settings.items() if k != "results"},
    )


def section_of(document: LoadResult) -> str:
    """Which of the two sections for load runs a run belongs to: `load` or `crowd`."""
    return "crowd" if document.listeners >= CROWD_LISTENERS else "load"


def load_command(document: LoadResult) -> str:
    """The command that repeats a load run, with every option that is not at its default."""
    defaults, settings = RunSettings().to_json(), document.settings
    told = {**settings, "listeners": document.listeners, "duration_s": document.seconds_measured}
    words = ["scoreboard", "load"]
    for flag, name, *_ in OPTIONS:
        value = told.get(name, defaults.get(name))
        if name in ALWAYS_TOLD or (name not in NEVER_TOLD and value != defaults.get(name)):
            words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    workers = sum(1 for member in document.members if member.kind == "submitters")
    if workers > 1:
        words += ["--workers", str(workers)]
    return shlex.join(words)


def load_section(document: LoadResult, file: str) -> str:
    """A load run: the headline, or the one with a crowd of listeners."""
    figures, counts, settings = document.figures, document.counts, document.settings
    resources, machine = document.resources, document.machine
    length, listeners = document.seconds_measured, document.listeners
    lines = [
        f"## {TITLES[section_of(document)]}",
        "",
        f"`{load_command(document)}` at commit {machine.revision}, {machine.cpus} CPUs "
        f"({machine.cpu}), {machine.memory_mib // 1024} GiB, everything on one machine, "
        f"{length} s after {settings['warmup_s']:g} s of warm-up. Result file: "
        f"[`{file}`]({file}).",
        "",
        f"**{number(figures['goodput'] or 0)} accepted submissions/s of "
        f"{number(figures['rate'] or 0)} offered, {number(listeners)} listeners, "
        f"{number(counts.get('deliveries', 0) / length)} events delivered per second. "
        f"Verdict: {_verdict(document.verdict)}.**",
        "",
        f"| duration | {' | '.join(p.label for p in PERCENTILES)} | from … to |",
        f"|---|{'--:|' * len(PERCENTILES)}---|",
    ]
    for measured in DURATIONS:
        if figures.get(f"{measured.name}_max") is not None:
            cells = " | ".join(
                duration(figures.get(f"{measured.name}_{p.key}")) for p in PERCENTILES
            )
            lines.append(f"| {measured.label} | {cells} | {measured.meaning} |")
    cores = sorted(resources.cores.items(), key=lambda pair: -pair[1])
    lines += [
        "",
        "Cores used: " + ", ".join(f"{name} {used:.2f}" for name, used in cores) + ". "
        f"The harness used {resources.harness_share or 0:.0%} of the machine."
        + (
            f" {resources.elsewhere:.2f} cores were used by unrelated programs."
            if (resources.elsewhere or 0) > 0.1
            else ""
        )
        + f" Bottleneck: {resources.bottleneck}.",
    ]
    if costs := cost_words(document.listener_cost):
        lines.append(
            "Cost of listening, for the harness: "
            + ", ".join(f"{name} {figure}" for name, figure, _ in costs)
            + f" (targets: at most {US_PER_READ_TARGET:g} µs, "
            f"under {KIB_PER_LISTENER_TARGET:g} KiB beyond the interpreter)."
        )
    if ceiling := document.ceiling:
        lines.append(
            f"Ceiling of the load generator against the null server: {number(ceiling.per_core)} "
            f"requests/s per core ({ceiling.us_per_request:.0f} µs of CPU each)."
        )
    lines += ["", "| promise | verdict | evidence |", "|---|---|---|"]
    lines += [f"| {f.invariant} | {f.verdict} | {f.looked_at} |" for f in document.findings]
    section = section_of(document)
    lines += ["", *(f"![{name}]({KEPT}/{section}-{name}.svg)" for name in LOAD_PLOTS)]
    return "\n".join(lines)


def _verdict(verdict: LoadVerdict) -> str:
    words = [
        "valid" if verdict.valid else "not valid",
        "correct" if verdict.correct else "not correct",
    ]
    for passed in (True, False):
        limits = ", ".join(k.limit for k in verdict.limits if k.passed is passed)
        if limits:
            words.append(f"{'within' if passed else 'not within'} {limits}")
    return ", ".join(words)


def load_plots(document: LoadResult) -> dict[str, str]:
    """The plots the section shows, by file name."""
    plots = plots_of(document)
    section = section_of(document)
    return {
        f"{section}-{name}.svg": standalone(plots[name]) for name in LOAD_PLOTS if name in plots
    }


def capacity_section(document: CapacityResult, file: str) -> str:
    """The sustained load, and the bottleneck beyond it."""
    plan, machine = document.plan, document.machine
    # Searches of an earlier version recorded no more than their limits.
    command = document.command or f"scoreboard capacity --slo '{plan.slo}'"
    lines = [
        "## Capacity within limits",
        "",
        f"`{command}` at commit {machine.revision}, "
        f"{machine.cpus} CPUs ({machine.cpu}): trials of {plan.seconds:g} s. The "
        f"search doubles the load, then bisects; each load below was sustained in {plan.repeats} "
        f"trials. A trial passes only if it is valid, correct and within the limits, and its "
        f"backlog does not grow. Result file: "
        f"[`{file}`]({file}).",
        "",
        "| with | sustained | bottleneck beyond it |",
        "|---|--:|---|",
    ]
    for found in document.searches:
        over_rate = found.over == "rate"
        beside = f"{number(found.fixed)} listeners" if over_rate else f"{number(found.fixed)}/s"
        unit = "/s" if over_rate else " listeners"
        least = "" if found.bounded else "≥ "
        lines.append(f"| {beside} | {least}{number(found.load)}{unit} | {found.bottleneck} |")
    law = document.scalability
    lines.append("")
    if law.fit is None:
        lines.append(f"No fit to the Universal Scalability Law: {law.refused}.")
    else:
        low, high = law.peak
        peak = "no peak" if law.peak_rate is None else f"peak {number(law.peak_rate)}/s"
        lines.append(
            f"Universal Scalability Law over submissions in flight: {peak} "
            f"(90 % bootstrap bounds {number(low or 0)} to "
            f"{'∞' if high is None else number(high)}), "
            f"contention {law.fit.contention:.4f}, coherency {law.fit.coherency:.6f}."
        )
    lines += ["", f"![trials]({KEPT}/capacity-trials.svg)"]
    return "\n".join(lines)


def capacity_plots(document: CapacityResult) -> dict[str, str]:
    """Response and lag of every trial over its rate."""
    trials = sorted(document.trials, key=lambda t: (t.rate, t.listeners))

    def points(key: str, *, held: bool) -> list[tuple[float, float | None]]:
        return [(t.rate, getattr(t, key)) for t in trials if t.held is held and getattr(t, key)]

    lines = [
        Line(name="response p99, sustained", points=points("response_p99", held=True)),
        Line(name="lag p99, sustained", points=points("lag_p99", held=True)),
        Line(name="response p99, not sustained", points=points("response_p99", held=False)),
        Line(name="lag p99, not sustained", points=points("lag_p99", held=False)),
    ]
    plot = line_plot(
        "Every trial of the search: p99 over submissions per second",
        [line for line in lines if line.points],
        axis=Axis(text=duration, log=True),
        x_text=number,
        dots=True,
    )
    return {"capacity-trials.svg": standalone(plot)}


def selfproof_section(document: SelfTestResult, file: str) -> str:
    """Planted faults and what the harness reported of them."""
    lines = [
        "## Self-test: planted faults",
        "",
        "`scoreboard selfproof` plants each fault into a null server and compares the report of "
        f"the harness with what was planted. Result file: [`{file}`]({file}).",
        "",
        "| planted fault | reported | exact |",
        "|---|---|---|",
    ]
    lines += [
        f"| {p.planted} | {p.reported} | {'yes' if p.exact else '**no**'} |"
        for p in document.proofs
    ]
    stall = document.stall
    # Proofs of an earlier version have fewer percentiles.
    shown = [p for p in PERCENTILES if all(p.key in r.times_ms for r in stall.reports)]
    lines += [
        "",
        f"Coordinated omission: the same stall measured by stock Locust ({stall.planted}; "
        f"{stall.intended:,} requests intended):",
        "",
        f"| tool | requests measured | {' | '.join(p.label for p in shown)} |",
        f"|---|--:|{'--:|' * len(shown)}",
    ]
    for report in stall.reports:
        cells = " | ".join(duration(1000 * report.times_ms[p.key]) for p in shown)
        lines.append(f"| {report.tool} | {report.requests:,} | {cells} |")
    lines += [
        "",
        "Stock Locust is a closed loop: its users wait for the stalled answer, so the requests "
        "that the stall kept them from sending appear in no percentile.",
    ]
    return "\n".join(lines)


def trouble_section(document: TroubleResult, file: str) -> str:
    """Planted troubles, the verdict each must give, and what was said."""
    held = sum(row.held for row in document.troubles)
    lines = [
        "## A harness in trouble",
        "",
        "`scoreboard selfproof --trouble` runs the commands as a user does, breaks something "
        "around them, and compares verdict and exit code with those that they must give: "
        f"{held} of {len(document.troubles)} did, at commit {document.machine.revision}. Exit "
        "codes: 0 good, 1 bad, 2 wrong use, 3 could not tell. "
        f"Result file: [`{file}`]({file}).",
        "",
        "| planted | must say | said | exit |",
        "|---|---|---|--:|",
    ]
    for row in document.troubles:
        code = str(row.exit) if row.held else f"**{row.exit}, must be {row.must_exit}**"
        cells = (row.planted, row.must_say, row.said)
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + f" | {code} |")
    lines += ["", *(f"Not planted on this machine: {reason}." for reason in document.not_planted)]
    return "\n".join(lines)


def bench_gate_section(document: BenchProofResult, file: str) -> str:
    """Error rates of the regression gate."""
    machine, planted = document.machine, f"{document.planted:.0%}"
    rows = [
        ("instructions_equal", "instructions: equal code reported as worse (false alarm)", None),
        ("instructions_slower", f"instructions: a {planted} slowdown not reported (miss)", None),
        ("one_more_call", "function calls: one more not reported (miss)", None),
        ("equal", "times: equal code reported as worse (false alarm)", document.false_alarm_rate),
        ("slower", f"times: a {planted} slowdown not reported (miss)", document.miss_rate),
    ]
    cost = "" if document.minutes is None else f", {document.minutes:.1f} minutes a comparison"
    lines = [
        "## Regression gate: error rates",
        "",
        f"`scoreboard bench-compare --prove` at commit {machine.revision}, "
        f"{machine.cpus} CPUs ({machine.cpu}), {document.rounds} rounds a side{cost}. One revision "
        "is compared with itself: unchanged, with a planted slowdown (an empty loop that takes "
        f"{planted} of the case's time), and with one planted function call. Instructions are "
        "compared over all pairs of counts. The rounds of the unchanged comparison, "
        f"{document.cases} cases, are then resampled {document.trials} times with and without "
        f"slowdowns. Result file: [`{file}`]({file}).",
        "",
        "| error | measured | resampled |",
        "|---|--:|--:|",
    ]
    for key, name, resampled in rows:
        real = document.real.get(key)
        if real is None:
            lines.append(f"| {name} | instructions were not counted | |")
            continue
        lines.append(
            f"| {name} | {real.wrong} of {real.decisions} decisions in "
            f"{real.comparisons} comparisons ({real.rate:.1%}) | "
            f"{'' if resampled is None else f'{resampled:.3%}'} |"
        )
    lines.append("")
    if document.instruction_spread is not None and document.instruction_growth is not None:
        lines.append(
            f"Instructions of equal code differed by at most {document.instruction_spread:.2%}; "
            f"the planted slowdown added at least {document.instruction_growth:.1%}."
        )
    if document.miss_rates and document.false_alarm_comparisons is not None:
        missed = ", ".join(f"{rate:.0%} at +{slow}" for slow, rate in document.miss_rates.items())
        lines.append(
            f"Times alone miss {missed}; {document.false_alarm_comparisons:.1%} of the resampled "
            "comparisons had a false alarm in any case."
        )
    lines.append(
        "Counts (instructions, function calls, allocated bytes) hardly depend on noise: growth "
        "beyond their spread fails. They do not see waiting, cache misses and system calls, which "
        "only times show, and only as far as the noise of the machine allows; every comparison "
        "prints how far that is."
    )
    return "\n".join(lines)
