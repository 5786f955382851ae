"""Which plots a load run has, made from its result document. How plots are drawn is in `plots`."""

import math
from collections.abc import Sequence

from hdrh.histogram import HdrHistogram

from harness.measure.figures import OUTCOMES, PERCENTILES, labelled
from harness.measure.slo import BadSlo, histogram_and_quantile, parse_slo
from harness.measure.terminal import duration, number
from harness.report.document import ChaosSecond, LoadResult, Second
from harness.report.plots import Axis, Line, Shade, heat_map, line_plot, percentile_plot

HEAT_PER_OCTAVE = 4
CURVES = ("response", "service", "lag", "reach_last")
CURVE = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)


def per_second(second: Second, name: str) -> float:
    """A counter of a second, or the mean over the seconds of a span."""
    value = second.counters.get(name, 0)
    return value / second.span_s if second.span_s > 1 else value


def heat_bounds(bucket: int) -> tuple[float, float]:
    """Lowest and highest µs of a bucket of the heat maps."""
    return 2 ** (bucket / HEAT_PER_OCTAVE), 2 ** ((bucket + 1) / HEAT_PER_OCTAVE)


def heat_bucket(us: int) -> int:
    """The bucket of the heat maps that holds a duration."""
    return math.floor(math.log2(max(1, us)) * HEAT_PER_OCTAVE)


def shades_of(document: LoadResult) -> list[Shade]:
    """Everything outside the measured window, and faults."""
    window = document.window
    shades = [
        Shade(start=-1e9, end=window.start, label="warm-up, not measured"),
        Shade(start=window.end, end=1e9, label="drain, not measured"),
    ]
    shades += [
        Shade(start=f.start, end=f.end, kind="fault", label=f.name, mark=f.name)
        for f in document.faults
    ]
    return shades


def plots_of(document: LoadResult) -> dict[str, str]:
    """Every plot of a run as SVG, by name; only those that have something to show."""
    seconds = [s for s in document.seconds if s.t >= -1]
    shades = shades_of(document)
    plots: dict[str, str] = {}

    def times(title: str, lines: Sequence[Line], limited: str = "") -> str:
        limits = _limits(document, limited) if limited else ()
        axis = Axis(text=duration, log=True, limits=limits)
        return line_plot(title, lines, axis=axis, shades=shades)

    active = [s for s in seconds if s.counters.get("intended")]
    if active:
        plots["rate"] = line_plot(
            "Submissions per second, by intended second",
            [
                Line(name=name, points=[(s.t, per_second(s, key)) for s in active])
                for key, name in (("intended", "intended"), *OUTCOMES.items())
                if key in ("intended", "ok") or any(s.counters.get(key) for s in active)
            ],
            axis=Axis(text=number),
            shades=shades,
        )
        plots["response"] = times(
            "Response time from the intended send", quantile_lines(active, "response"), "response"
        )
        plots["delay"] = times(
            "How late submissions were sent (p99)",
            [
                Line(name=name, points=[(s.t, _at(s, key, "p99", "p90", "max")) for s in active])
                for key, name in (
                    ("delay", "with the wait for a connection"),
                    ("late", "generator alone"),
                )
            ],
        )
    heard = [s for s in seconds if "lag" in s.times]
    if heard:
        plots["lag"] = times(
            "Delivery lag: commit to listener", quantile_lines(heard, "lag"), "lag"
        )
        plots["reach"] = times(
            "When an event reached its first, median and last listener (median event)",
            [
                Line(name=name, points=[(s.t, _at(s, f"reach_{name}", "p50")) for s in heard])
                for name in ("first", "median", "last")
            ],
        )
    for key, title in (("response", "Response times"), ("lag", "Delivery lags")):
        columns = {s.t: s.heat[key] for s in seconds if s.heat.get(key)}
        if columns:
            plots[f"{key}_heat"] = heat_map(
                f"{title}: the stronger the colour, the more",
                columns,
                bounds=heat_bounds,
                shades=shades,
            )
    connected = [s for s in seconds if "connected" in s.counters]
    if connected:
        plots["listeners"] = line_plot(
            "Open streams",
            [Line(name="connected", points=[(s.t, per_second(s, "connected")) for s in connected])],
            axis=Axis(text=number),
            shades=shades,
        )
    plots.update(_resource_plots(document, shades))
    curves = [
        (labelled(key), _curve(document.histograms[key]))
        for key in CURVES
        if key in document.histograms
    ]
    if curves:
        plots["percentiles"] = percentile_plot("All durations by percentile", curves)
    return plots


def _resource_plots(document: LoadResult, shades: Sequence[Shade]) -> dict[str, str]:
    samples = document.resources.samples
    if len(samples) < 2:
        return {}
    names = sorted({name for s in samples for name in s.processes})
    used = {
        name: max((s.processes[name]["cpu"] for s in samples if name in s.processes), default=0)
        for name in names
    }
    shown = sorted((name for name in names if used[name] >= 0.02), key=lambda n: -used[n])[:6]
    cpus = document.machine.cpus or 1

    def series(name: str, key: str) -> list[tuple[float, float | None]]:
        return [(s.t, s.processes[name][key] if name in s.processes else None) for s in samples]

    plots = {
        "cpu": line_plot(
            f"CPU in cores (the machine has {cpus})",
            [
                *(Line(name=_short(name), points=series(name, "cpu")) for name in shown),
                Line(name="machine", points=[(s.t, s.machine["busy"] * cpus) for s in samples]),
            ],
            axis=Axis(least=1.0),
            shades=shades,
        ),
        "memory": line_plot(
            "Resident memory in MiB",
            [Line(name=_short(name), points=series(name, "rss_mib")) for name in shown],
            axis=Axis(text=number),
            shades=shades,
        ),
    }
    rates = [
        Line(name=name, points=[(s.t, getattr(s, group).get(key)) for s in samples])
        for group, key, name in (
            ("mysql", "Questions", "MySQL statements/s"),
            ("mysql", "Com_commit", "MySQL commits/s"),
            ("mysql", "Innodb_os_log_fsyncs", "MySQL log syncs/s"),
            ("redis", "total_commands_processed", "Redis commands/s"),
        )
        if any(key in getattr(s, group) for s in samples)
    ]
    if rates:
        plots["backends"] = line_plot(
            "Load on the stores", rates, axis=Axis(text=number), shades=shades
        )
    return plots


def _short(name: str) -> str:
    return name.removeprefix("harness ")


def _limits(document: LoadResult, histogram: str) -> list[tuple[str, float]]:
    found = []
    for result in document.verdict.limits:
        try:
            [limit] = parse_slo(result.limit)
        except BadSlo:
            # Earlier versions took limits that mean nothing.
            continue
        of = histogram_and_quantile(limit.figure)
        if of is not None and of[0] == histogram and limit.below:
            found.append((limit.text, limit.value))
    return found


def quantile_lines(seconds: Sequence[Second | ChaosSecond], key: str) -> list[Line]:
    """The percentiles of one histogram over the seconds, the greatest first; none that is empty."""
    return [
        line
        for percentile in reversed(PERCENTILES)
        if (
            line := Line(
                name=percentile.label,
                points=[(s.t, _at(s, key, percentile.key)) for s in seconds],
            )
        ).known
    ]


def _at(second: Second | ChaosSecond, key: str, *labels: str) -> float | None:
    times = second.times.get(key, {})
    return next((times[label] for label in labels if label in times), None)


def _curve(encoded: str) -> list[tuple[float, float]]:
    histogram = HdrHistogram.decode(encoded)
    total = histogram.get_total_count()
    return [
        (q, max(1.0, float(histogram.get_value_at_percentile(100 * q))))
        for q in CURVE
        if (1 - q) * total >= 10
    ]
