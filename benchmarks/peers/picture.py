"""The picture that RESULTS.md opens with: latency over offered load, ours and peers. Pure."""

import math
import re
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.peers.targets import Samples
from harness.measure.terminal import duration
from harness.report.plots import Axis, Line, line_plot, standalone

NAMES = {
    "ours": "this server",
    "direct": "SQL in the handler",
    "redis": "Redis alone",
    "literal": "literal, Go",
    "ceiling": "token check only",
}
"""In the order of the legend."""
_FIGURE = re.compile(r"everyday ([0-9.e+]+)/([\w-]+)/answer_(p50|p99)_ms")
TITLE = "Latency of an accepted submission over submissions/s offered: p50, and p99 dashed"


def curves(samples: Samples) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Peer and quantile to pairs of rate and ms, the median of the rounds."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for figure, values in samples.items():
        told = _FIGURE.fullmatch(figure)
        known = [value for value in values if value is not None]
        if told and known:
            rate, peer, quantile = told.groups()
            found.setdefault((peer, quantile), []).append((float(rate), median(known)))
    return {key: sorted(points) for key, points in found.items()}


def latency_over_load(samples: Samples) -> str:
    """An SVG file; empty without any figure of everyday load."""
    found = curves(samples)
    if not found:
        return ""
    lines = [
        _line(name, found.get((peer, quantile), ()), dashed=quantile == "p99")
        for quantile in ("p50", "p99")
        for peer, name in NAMES.items()
        if (peer, "p50") in found
    ]
    rates = sorted({rate for points in found.values() for rate, _ in points})
    return standalone(
        line_plot(
            TITLE,
            lines,
            axis=Axis(text=lambda ms: duration(ms * 1000), log=True),
            x_text=lambda power: f"{10**power:,.0f}",
            x_ticks=[math.log10(rate) for rate in rates],
            dots=True,
        )
    )


def _line(name: str, points: Sequence[tuple[float, float]], *, dashed: bool) -> Line:
    return Line(name=name, points=[(math.log10(x), y) for x, y in points], dashed=dashed)


def table(samples: Samples) -> list[str]:
    """The picture's figures: a line per rate, p50 / p99 in ms and cores of each peer."""
    found = curves(samples)
    peers = [peer for peer in NAMES if (peer, "p50") in found]
    rates = sorted({rate for points in found.values() for rate, _ in points})
    lines = [
        f"| offered | {' | '.join(NAMES[peer] for peer in peers)} |",
        f"|---|{'---|' * len(peers)}",
    ]
    for rate in rates:
        cells = [_cell(found, samples, peer, rate) for peer in peers]
        lines.append(f"| {rate:,.0f}/s | {' | '.join(cells)} |")
    return lines


def _cell(
    found: Mapping[tuple[str, str], Sequence[tuple[float, float]]],
    samples: Samples,
    peer: str,
    rate: float,
) -> str:
    told = [dict(found.get((peer, quantile), ())).get(rate) for quantile in ("p50", "p99")]
    if None in told:
        return "–"
    cores = [v for v in samples.get(f"everyday {rate:g}/{peer}/cores", ()) if v is not None]
    spent = f", {median(cores):.2f} cores" if cores else ""
    p50, p99 = (duration(None if ms is None else ms * 1000) for ms in told)
    return f"{p50} / {p99}{spent}"
