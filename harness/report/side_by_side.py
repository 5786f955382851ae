"""Two servers under the same load in one table: a document, a page, and lines for a terminal. Pure.

Figures of a side are medians over its runs, with the least and the greatest beside them. Whether a
difference is more than noise is `harness.report.compare`'s to say, for two runs.
"""

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Literal

from harness.checker import Verdict
from harness.measure.figures import PERCENTILES
from harness.measure.terminal import duration, number
from harness.report.charts import per_second, shades_of
from harness.report.compare import different_settings
from harness.report.document import LoadResult, Side, SideBySideResult, SideFigure
from harness.report.page import Row, render, when
from harness.report.plots import Axis, Line, line_plot
from harness.report.run_view import correctness

OWN = "harness "
Read = Callable[[LoadResult], float | None]


def _figure(name: str) -> Read:
    return lambda run: run.figures.get(name)


def _count(name: str) -> Read:
    return lambda run: float(run.counts.get(name, 0)) if run.counts.get("intended") else None


def _cores(run: LoadResult) -> float | None:
    used = [cores for name, cores in run.resources.cores.items() if not name.startswith(OWN)]
    return sum(used) if used else None


def _cpu_us(run: LoadResult) -> float | None:
    cores, goodput = _cores(run), run.figures.get("goodput")
    return None if cores is None or not goodput else cores / goodput * 1e6


def _deliveries(run: LoadResult) -> float | None:
    return run.counts.get("deliveries", 0) / run.seconds_measured if run.listeners else None


Kind = Literal["time", "share", "count"]
SHARE: Kind = "share"
TIME: Kind = "time"
COUNT: Kind = "count"
FIGURES: tuple[tuple[str, Kind, Read], ...] = (
    ("offered /s", COUNT, _figure("rate")),
    ("accepted /s", COUNT, _figure("goodput")),
    ("errors", SHARE, _figure("errors")),
    ("refused", COUNT, _count("fail")),
    ("outcome unknown", COUNT, _count("unknown")),
    ("never sent", COUNT, _count("dropped")),
    *(
        (f"{words} {percentile.label}", TIME, _figure(f"{name}_{percentile.key}"))
        for name, words in (
            ("response", "response"),
            ("service", "service"),
            ("submit_deliver_median", "submit → median listener"),
            ("lag", "commit → listener"),
            ("read", "read of the board"),
        )
        for percentile in PERCENTILES
    ),
    ("events delivered /s", COUNT, _deliveries),
    ("server CPU, cores", COUNT, _cores),
    ("server CPU per submission", TIME, _cpu_us),
)


def side_by_side(names: Sequence[str], runs: Sequence[Sequence[LoadResult]]) -> SideBySideResult:
    """The document of two or more sides; each has at least one run."""
    first = runs[0][0]
    sides = [
        Side(
            name=name,
            target=of_side[0].target,
            runs=[run.run_id for run in of_side],
            valid=all(run.verdict.valid for run in of_side),
            correctness=Verdict(_worst([correctness(run) for run in of_side])),
            within_slo=all(run.verdict.within_slo for run in of_side),
            reasons=list(
                dict.fromkeys(
                    reason
                    for run in of_side
                    for reason in (*run.verdict.invalid, *run.verdict.incorrect)
                )
            ),
            bottleneck=of_side[-1].resources.bottleneck,
        )
        for name, of_side in zip(names, runs, strict=True)
    ]
    figures = []
    for name, kind, read in FIGURES:
        values = [[v for run in of_side if (v := read(run)) is not None] for of_side in runs]
        if any(values):
            figures.append(
                SideFigure(
                    name=name,
                    kind=kind,
                    median=[median(found) if found else None for found in values],
                    least=[min(found, default=None) for found in values],
                    most=[max(found, default=None) for found in values],
                )
            )
    return SideBySideResult(
        started_unix_s=first.started_unix_s,
        machine=first.machine,
        sides=sides,
        figures=figures,
        differences=different_settings(first, runs[-1][0]),
    )


def _worst(told: Sequence[str]) -> str:
    return next((word for word in ("false", "unknown") if word in told), "true")


def shown(kind: str, value: float | None) -> str:
    """A figure as text, a dash where there is none."""
    if value is None:
        return "–"
    if kind == TIME:
        return duration(value)
    return f"{value:.3%}" if kind == SHARE else number(value)


def cells(figure: SideFigure) -> Iterator[str]:
    """One text a side: the median, and the range where there were several runs."""
    for middle, low, high in zip(figure.median, figure.least, figure.most, strict=True):
        text = shown(figure.kind, middle)
        if low != high:
            text += f" ({shown(figure.kind, low)}–{shown(figure.kind, high)})"
        yield text


def verdicts(document: SideBySideResult) -> list[tuple[str, list[str]]]:
    """The rows of the three questions, one text a side."""
    sign = {"true": "yes", "false": "no", "unknown": "unknown"}
    return [
        ("valid", ["yes" if side.valid else "no" for side in document.sides]),
        ("correct", [sign[side.correctness] for side in document.sides]),
        ("within SLO", ["yes" if side.within_slo else "no" for side in document.sides]),
    ]


def lines(document: SideBySideResult) -> Iterator[str]:
    """The table for a terminal."""
    rows = [(figure.name, list(cells(figure))) for figure in document.figures]
    rows += verdicts(document)
    heads = [side.name for side in document.sides]
    columns = zip(heads, *(texts for _, texts in rows), strict=True)
    widths = [max(len(text) for text in column) for column in columns]
    left = max(len(name) for name, _ in rows)
    for name, texts in [("", heads), *rows]:
        row = "  ".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))
        yield f"  {name:<{left}}  {row}"
    for side in document.sides:
        yield f"  {side.name}: {side.bottleneck}"
        yield from (f"    {reason}" for reason in side.reasons[:5])
    yield from (f"  not the same: {reason}" for reason in document.differences)


def html_page(document: SideBySideResult, runs: Sequence[Sequence[LoadResult]]) -> str:
    """The page: verdicts and figures side by side, and the first run of each side over time."""
    first = [of_side[0] for of_side in runs]
    names = [side.name for side in document.sides]
    about = ", ".join(
        f"{s.name}: {s.target} ({len(s.runs)} run{'s' * (len(s.runs) != 1)})"
        for s in document.sides
    )
    return render(
        "side_by_side.html",
        title=" beside ".join(names),
        about=f"{about} · {when(document.started_unix_s)}",
        heads=[("figure", ""), *((name, "") for name in names)],
        verdicts=[_row(name, texts) for name, texts in verdicts(document)],
        figures=[_row(figure.name, list(cells(figure))) for figure in document.figures],
        notes=[
            *(f"{side.name}: {side.bottleneck}" for side in document.sides),
            *(f"{side.name}: {reason}" for side in document.sides for reason in side.reasons[:8]),
            *(f"not the same: {reason}" for reason in document.differences),
        ],
        plots={
            "accepted": line_plot(
                "Accepted per second",
                [
                    Line(name=name, points=[(s.t, per_second(s, "ok")) for s in run.seconds])
                    for name, run in zip(names, first, strict=True)
                ],
                axis=Axis(text=number),
                shades=shades_of(first[0]),
            ),
            **{
                key: line_plot(
                    title,
                    [
                        Line(
                            name=name,
                            points=[(s.t, s.times.get(key, {}).get("p90")) for s in run.seconds],
                        )
                        for name, run in zip(names, first, strict=True)
                    ],
                    axis=Axis(text=duration, log=True),
                    shades=shades_of(first[0]),
                )
                for key, title in (
                    ("response", "Response time, p90 of each second"),
                    ("submit_deliver_median", "Submission to median listener, p90"),
                )
                if any(key in s.times for run in first for s in run.seconds)
            },
        },
    )


def _row(name: str, texts: Sequence[str]) -> Row:
    return name, [(text, "") for text in texts]
