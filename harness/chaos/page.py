"""One HTML file that tells a chaos run: verdict, what clients saw, faults, promises.

Made from the report only, and self-contained like that of a load run.
"""

import time
from collections.abc import Sequence
from html import escape

from harness.checker import Finding, Verdict
from harness.measure.terminal import duration, number
from harness.report.charts import quantile_lines
from harness.report.document import ChaosResult, InjectedFault
from harness.report.load_page import figures_over_time, page, verdict_cards
from harness.report.plots import Axis, Line, Shade, line_plot

COUNTS = (
    ("accepted", "submissions accepted"),
    ("unknown", "left unknown"),
    ("attempts_unknown", "attempts without an answer"),
    ("changes", "changes"),
    ("listeners", "listeners"),
    ("reconnects", "reconnects"),
)


def html_page(report: ChaosResult) -> str:
    """The page. Some hundred kilobytes for ten minutes."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.started_unix_s))
    machine = report.machine
    return page(
        f"Chaos run, seed {report.seed}",
        f"commit {report.commit} · {when} · {report.flood_s:.0f} s of flood, "
        f"{len(report.faults)} faults · {machine.cpus} CPUs, Python {machine.python}",
        f"{_verdicts(report)}{_tiles(report)}{figures_over_time(plots_of(report).values())}"
        f"{_faults(report)}{_promises(report)}",
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


def _verdicts(report: ChaosResult) -> str:
    def card(
        word: str, verdict: Verdict, findings: Sequence[Finding], praise: str
    ) -> tuple[str, bool, Sequence[str], str]:
        doubted = [
            f"{f.invariant} {f.verdict}: {'; '.join(f.explanations[:2])}"
            for f in findings
            if f.verdict != "true"
        ]
        return word, verdict is Verdict.TRUE, doubted or [verdict], praise

    return verdict_cards(
        [
            card(
                "proven",
                report.verdict,
                report.findings,
                "Every promise holds, seen with the database.",
            ),
            card(
                "proven from outside",
                report.verdict_black_box,
                report.findings_black_box,
                "Every promise holds by HTTP and streams alone.",
            ),
        ]
    )


def _tiles(report: ChaosResult) -> str:
    cells = "".join(
        f"<div class=tile><span>{name}</span><b>{number(getattr(report, key))}</b></div>"
        for key, name in COUNTS
    )
    return f"<div class=tiles>{cells}</div>"


def _faults(report: ChaosResult) -> str:
    rows = "".join(
        f"<tr><td>{fault.number}</td><td class=text>{escape(fault.kind)}</td>"
        f"<td class=text>{escape(fault.target)}</td><td>{fault.at_s:.1f} s</td>"
        f"<td>{fault.held_s:.1f} s</td><td>{_recovery(fault)}</td>"
        f"<td class=text>{escape(fault.fired or 'did not fire')}</td></tr>"
        for fault in report.faults
    )
    head = "".join(
        f"<th class='{kind}'>{name}</th>"
        for name, kind in (
            ("", ""),
            ("fault", "text"),
            ("on", "text"),
            ("at", ""),
            ("held", ""),
            ("recovered", ""),
            ("proof", "text"),
        )
    )
    return f"<h2>Faults</h2><div class=wide><table><tr>{head}</tr>{rows}</table></div>"


def _recovery(fault: InjectedFault) -> str:
    value = fault.recovery_ms
    return "<span class=false>never</span>" if value is None else duration(1000 * value)


def _promises(report: ChaosResult) -> str:
    rows = "".join(
        f"<tr><td>{escape(f.invariant)}</td><td class={f.verdict}>{f.verdict}</td>"
        f"<td class=text>{escape(f.title)}</td>"
        f"<td class=text>{escape('; '.join(f.explanations) or f.looked_at)}</td></tr>"
        for f in report.findings
    )
    return f"<h2>Promises</h2><div class=wide><table>{rows}</table></div>"
