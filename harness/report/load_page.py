"""One HTML file that tells a run: verdict, figures, plots, settings. Made from its document only.

Self-contained: no script, no font, no address of another host.
"""

import time
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import msgspec

from harness.measure.figures import DURATIONS, PERCENTILES
from harness.measure.terminal import duration, number
from harness.report.charts import plots_of
from harness.report.document import LoadResult
from harness.report.listener_cost import cost_words
from harness.report.plots import standalone

# The page

PAGE_STYLE = """
:root{--ink:#14171d;--soft:#5b6270;--line:#e3e6ec;--paper:#fff;--card:#f7f8fa;--good:#0b7a4b;
--bad:#c0310b;--warn:#946200}
@media(prefers-color-scheme:dark){:root{--ink:#eef0f4;--soft:#9aa3b2;--line:#2a303b;--paper:#12151b;
--card:#191d25;--good:#3ecf8e;--bad:#ff7a59;--warn:#e8c34a}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif}
main{max-width:1180px;margin:0 auto;padding:40px 24px 80px}
h1{font-size:26px;margin:0 0 2px;letter-spacing:-.01em}h2{font-size:17px;margin:44px 0 12px}
.sub{color:var(--soft);margin:0 0 24px}
.verdicts{display:flex;gap:12px;flex-wrap:wrap;margin:20px 0}
.verdict{border:1px solid var(--line);border-left:4px solid var(--good);border-radius:8px;
padding:12px 16px;flex:1 1 300px;background:var(--card)}
.verdict.bad{border-left-color:var(--bad)}.verdict b{display:block;font-size:16px}
.verdict.good b{color:var(--good)}.verdict.bad b{color:var(--bad)}
.verdict ul{margin:4px 0 0;padding-left:18px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:12px;margin:20px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px}
.tile span{display:block;color:var(--soft);font-size:13px}
.tile b{font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(520px,100%),1fr));gap:16px}
.plots figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:8px 6px 2px}
.plots svg{width:100%;height:auto;display:block}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:500}
td.text,th.text{text-align:left;white-space:normal;color:var(--soft)}.true{color:var(--good)}
.false{color:var(--bad)}.unknown{color:var(--warn)}
"""


def html_report(document: LoadResult) -> str:
    """The page. A few hundred kilobytes for a minute."""
    title = f"Load run {document.run_id}"
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(document.started_unix_s))
    window = document.window
    return page(
        document.label or title,
        f"{document.target} · {when} · "
        f"{window.end - window.start} s measured after {window.start} s of warm-up",
        f"{_verdicts(document)}{_tiles(document)}"
        f"<h2>Durations</h2>{_durations(document)}"
        f"{figures_over_time(plots_of(document).values())}"
        f"{_limits_table(document)}{_findings(document)}{_machine(document)}",
    )


def page(title: str, about: str, body: str) -> str:
    """The frame of every report; `body` is HTML, the rest is text."""
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{PAGE_STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p class=sub>{escape(about)}</p>{body}</main></body></html>"
    )


def figures_over_time(plots: Iterable[str]) -> str:
    """The plots side by side."""
    figures = "".join(f"<figure>{standalone(svg)}</figure>" for svg in plots)
    return f"<h2>Over time</h2><div class=plots>{figures}</div>"


def _verdicts(document: LoadResult) -> str:
    verdict = document.verdict
    cards = [
        ("valid", verdict.valid, verdict.invalid, "The generator kept its schedule."),
        (
            "correct",
            verdict.correct,
            verdict.incorrect,
            "Every acknowledged submission counted once; every listener saw every change in order.",
        ),
    ]
    if verdict.limits:
        broken = [f"{kept.limit} is broken" for kept in verdict.limits if not kept.passed]
        held = ", ".join(kept.limit for kept in verdict.limits)
        cards.append(("within SLO", verdict.within_slo, broken, held))
    return verdict_cards(cards)


def verdict_cards(cards: Iterable[tuple[str, bool, Sequence[str], str]]) -> str:
    """A card for each (word, good, problems, praise)."""
    parts = []
    for word, good, problems, praise in cards:
        inner = (
            escape(praise)
            if good
            else "<ul>" + "".join(f"<li>{escape(p)}</li>" for p in problems[:8]) + "</ul>"
        )
        sign = f"✓ {word}" if good else f"✗ not {word}"
        parts.append(f"<div class='verdict {'good' if good else 'bad'}'><b>{sign}</b>{inner}</div>")
    return f"<div class=verdicts>{''.join(parts)}</div>"


def _tiles(document: LoadResult) -> str:
    figures, counts, resources = document.figures, document.counts, document.resources
    length = document.seconds_measured
    tiles = []
    if counts.get("intended"):
        tiles += [
            ("accepted per second", number(figures["goodput"] or 0)),
            ("response p99", duration(figures["response_p99"])),
            ("not accepted", number(sum(counts.get(n, 0) for n in ("fail", "unknown", "dropped")))),
        ]
    if any(member.kind == "swarm" for member in document.members):
        tiles += [
            ("listeners", number(document.listeners)),
            ("delivered per second", number(counts.get("deliveries", 0) / length)),
            ("lag p99", duration(figures["lag_p99"])),
            *((f"harness' {name}", figure) for name, figure, _ in cost_words(document.swarm)),
        ]
    if resources.harness_share is not None:
        tiles.append(("harness' share of the machine", f"{resources.harness_share:.0%}"))
    ceiling = document.ceiling
    if ceiling:
        tiles.append(("generator's own ceiling", f"{number(ceiling.per_core)}/s per core"))
    cells = "".join(f"<div class=tile><span>{escape(n)}</span><b>{v}</b></div>" for n, v in tiles)
    bottleneck = f"<p>Bottleneck: {escape(resources.bottleneck)}.</p>" if resources.cores else ""
    return f"<div class=tiles>{cells}</div>{bottleneck}"


def _durations(document: LoadResult) -> str:
    figures = document.figures
    rows = []
    for key, name, meaning in ((d.name, d.label, d.meaning) for d in DURATIONS):
        if figures.get(f"{key}_max") is None:
            continue
        cells = "".join(
            f"<td>{duration(figures.get(f'{key}_{q}'))}</td>" for q in (p.key for p in PERCENTILES)
        )
        rows.append(f"<tr><td>{name}</td>{cells}<td class=text>{meaning}</td></tr>")
    head = "".join(f"<th>{p.label}</th>" for p in PERCENTILES)
    return (
        f"<div class=wide><table><tr><th></th>{head}<th></th></tr>{''.join(rows)}</table></div>"
        "<p class=sub>A dash stands where fewer than ten samples lie beyond a percentile.</p>"
    )


def _limits_table(document: LoadResult) -> str:
    limits = document.verdict.limits
    if not limits:
        return ""
    rows = "".join(
        f"<tr><td>{escape(k.limit)}</td>"
        f"<td class={str(k.passed).lower()}>{'kept' if k.passed else 'broken'}</td></tr>"
        for k in limits
    )
    return f"<h2>Limits</h2><div class=wide><table>{rows}</table></div>"


def _findings(document: LoadResult) -> str:
    rows = [
        (
            f.invariant,
            f.verdict,
            "; ".join(f.explanations) or f.looked_at,
        )
        for f in document.findings
    ]
    body = "".join(
        f"<tr><td>{escape(name)}</td><td class={verdict}>{verdict}</td>"
        f"<td class=text>{escape(text)}</td></tr>"
        for name, verdict, text in rows
    )
    return f"<h2>Correctness</h2><div class=wide><table>{body}</table></div>"


def _machine(document: LoadResult) -> str:
    def rows(pairs: Iterable[tuple[str, Any]]) -> str:
        return "".join(
            f"<tr><td>{escape(name.replace('_', ' '))}</td>"
            f"<td class=text>{escape(str(value))}</td></tr>"
            for name, value in pairs
            if value not in ("", None)
        )

    return "".join(
        f"<h2>{name.capitalize()}</h2><div class=wide><table>{rows(values.items())}</table></div>"
        for name, values in (
            ("machine", msgspec.structs.asdict(document.machine)),
            ("settings", document.settings),
        )
    )
