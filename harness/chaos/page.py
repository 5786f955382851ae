"""One HTML file that tells a chaos run: verdict, what clients saw, faults, guarantees.

Made from the report only, and self-contained like that of a load run.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from harness.checker import Finding, Verdict
from harness.measure.terminal import duration, number
from harness.report.charts import quantile_lines
from harness.report.document import ChaosResult
from harness.report.load_page import PROMISE_HEADS, promises
from harness.report.page import Row, card, render, when
from harness.report.plots import Axis, Line, Shade, line_plot

COUNTS = (
    ("accepted", "submissions accepted"),
    ("unknown", "left unknown"),
    ("attempts_unknown", "attempts without an answer"),
    ("changes", "changes"),
    ("listeners", "listeners"),
    ("reconnects", "reconnects"),
)
FAULT_HEADS = (
    ("number", ""),
    ("fault", "text"),
    ("on", "text"),
    ("at", ""),
    ("held", ""),
    ("recovered", ""),
    ("proof", "text"),
)


def html_page(report: ChaosResult) -> str:
    """The page. Some hundred kilobytes for ten minutes."""
    machine = report.machine
    return render(
        "chaos.html",
        title=f"Chaos run, seed {report.seed}",
        about=f"commit {report.commit} · {when(report.started_unix_s)} · "
        f"{report.load_s:.0f} s of load, {len(report.faults)} faults · "
        f"{machine.cpus} CPUs, Python {machine.python}",
        cards=[
            _card(
                "proven",
                report.verdict,
                report.findings,
                "Every guarantee holds, seen with MySQL.",
            ),
            _card(
                "proven from outside",
                report.verdict_black_box,
                report.findings_black_box,
                "Every guarantee holds by HTTP and streams alone.",
            ),
        ],
        tiles=[(name, number(getattr(report, key))) for key, name in COUNTS],
        plots=plots_of(report),
        fault_heads=FAULT_HEADS,
        faults=list(_faults(report)),
        promise_heads=PROMISE_HEADS,
        promises=list(promises(report.findings)),
    )


def plots_of(report: ChaosResult) -> dict[str, str]:
    """Rate and latency over time as SVG, every fault shaded and marked with its number."""
    seconds = report.seconds_seen
    shades = [
        Shade(
            start=fault.at_s,
            end=fault.at_s + fault.held_s,
            kind="fault",
            label=f"{fault.number}: {fault.kind} on {fault.target}",
            mark=str(fault.number),
        )
        for fault in report.faults
    ]
    return {
        "rate": line_plot(
            "Attempts per second: acknowledged, and without an answer",
            [
                Line(name=name, points=[(s.t, getattr(s, key)) for s in seconds])
                for key, name in (("ok", "acknowledged"), ("unknown", "no answer"))
            ],
            axis=Axis(text=number),
            shades=shades,
        ),
        "latency": line_plot(
            "Time to the acknowledgement, by the second of the send",
            quantile_lines(seconds, "answer"),
            axis=Axis(text=duration, log=True),
            shades=shades,
        ),
    }


def _card(
    word: str, verdict: Verdict, findings: Sequence[Finding], explanation: str
) -> dict[str, Any]:
    reasons = [
        f"{found.invariant} {found.verdict}: {'; '.join(found.explanations[:2])}"
        for found in findings
        if found.verdict is not Verdict.TRUE
    ]
    return card(word, verdict, reasons or ["nothing was checked"], explanation)


def _faults(report: ChaosResult) -> Iterator[Row]:
    for fault in report.faults:
        ms = fault.recovery_ms
        recovered = ("✗ never", "false") if ms is None else (duration(1000 * ms), "")
        yield (
            str(fault.number),
            [
                (fault.kind, "text"),
                (fault.target, "text"),
                (f"{fault.at_s:.1f} s", ""),
                (f"{fault.held_s:.1f} s", ""),
                recovered,
                (fault.fired or "did not fire", "text"),
            ],
        )
