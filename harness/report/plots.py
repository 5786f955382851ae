"""Draws figures as SVG text: lines, heat maps, percentile curves. Pure; knows no run.

Every plot stands inside an HTML page that has `STYLE`, or alone as a file (`standalone`).
Colours follow the reader's light or dark preference by CSS alone, and each second has its
values as a tooltip. What `stays` in place when a page stretches the x axis is a group.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from harness.measure.terminal import duration

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 48, 30
MARK_WIDTH = 5.2
"""Of a letter of 8 px."""
COLOURS = ("c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8")

STYLE = """
.plot{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#454b57}
.plot .title{font-weight:600;font-size:13px;fill:#14171d}
.plot .grid{stroke:#e7e9ee;stroke-width:1}.plot .axis{stroke:#b9bec9;stroke-width:1}
.plot .shade{fill:#8b93a3;opacity:.12}.plot .fault{fill:#d9480f;opacity:.14}
.plot .mark{font-size:8px}.plot .limit{stroke:#d9480f;stroke-width:1;stroke-dasharray:4 3}
.plot .line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.plot .dashed{stroke-dasharray:5 4}
.plot .c1{stroke:#3056d3}.plot .c2{stroke:#0b8a6a}.plot .c3{stroke:#c2410c}
.plot .c4{stroke:#8b3fc7}.plot .c5{stroke:#b08900}.plot .c6{stroke:#0e7490}
.plot .c7{stroke:#be185d}.plot .c8{stroke:#64748b}
.plot .heat{fill:#3056d3}.plot .strip{fill:#8b93a3;fill-opacity:0}
.plot .strip:hover{fill-opacity:.16}
@media(prefers-color-scheme:dark){.plot{fill:#a5adbb}.plot .title{fill:#eef0f4}
.plot .grid{stroke:#2a303b}.plot .axis{stroke:#4a5262}
.plot .c1,.plot .heat{stroke:#7c9cff}.plot .heat{fill:#7c9cff;stroke:none}
.plot .c2{stroke:#3ecfa5}.plot .c3{stroke:#ff8f5c}.plot .c4{stroke:#c792ff}
.plot .c5{stroke:#e8c34a}.plot .c6{stroke:#4fc3dc}.plot .c7{stroke:#ff7eb6}
.plot .c8{stroke:#9aa7b8}}
"""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A named series of points; a None breaks the line.

    Lines of one name have one colour and one place in the legend, and differ by `dashed`.
    """

    name: str
    points: Sequence[tuple[float, float | None]]
    dashed: bool = False

    @property
    def known(self) -> bool:
        """Whether any point has a value."""
        return any(y is not None for _, y in self.points)


@dataclass(frozen=True, kw_only=True)
class Shade:
    """A stretch of x that is marked; `kind` is `shade` (left out) or `fault`.

    `label` shows under the pointer, `mark` is written above the stretch.
    """

    start: float
    end: float
    kind: str = "shade"
    label: str = ""
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The format of y values, the scale, and limits drawn as lines."""

    text: Callable[[float], str] = lambda value: f"{value:,.4g}"
    log: bool = False
    least: float = 0.0
    limits: Sequence[tuple[str, float]] = field(default=())


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values that divide low..high into about `count` parts; at least one."""
    if high <= low:
        return [low]
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough - 1e-12)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 10, 100 … between the bounds, with 2 and 5 between them where there is room."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(decades) <= 3 else (1,)
    ticks = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
    return ticks or [low, high]


class _Frame:
    """Maps values to the picture."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], *, log: bool) -> None:
        self.x0, self.x1 = x
        self.y0, self.y1 = y
        self.log = log

    def px(self, value: float) -> float:
        span = (self.x1 - self.x0) or 1
        return LEFT + (value - self.x0) / span * (WIDTH - LEFT - RIGHT)

    def py(self, value: float) -> float:
        low, high = self.y0, self.y1
        if self.log:
            value, low, high = (math.log10(max(v, 1e-9)) for v in (value, low, high))
        share = (value - low) / ((high - low) or 1)
        return HEIGHT - BOTTOM - min(1.0, max(0.0, share)) * (HEIGHT - TOP - BOTTOM)


_STRIPS = re.compile(r'<rect class="strip".*?</rect>', re.DOTALL)
STRIPS_MAX = 300
"""In longer runs only every second, third … second has a tooltip."""


def standalone(svg: str) -> str:
    """A plot with its styles, to be a file of its own; pages have `STYLE` once.

    Without the values of each second: where such files are shown, nothing answers a pointer.
    """
    head, end, rest = _STRIPS.sub("", svg).partition(">")
    return f"{head}{end}<style>{STYLE}</style>{rest}"


def _document(title: str, parts: Sequence[str], legend: Sequence[tuple[str, str]] = ()) -> str:
    marks, at = [], LEFT
    for colour, name in legend:
        marks.append(
            f'<line class="line {colour}" x1="{at}" x2="{at + 14}" y1="33" y2="33"/>'
            f'<text x="{at + 19}" y="37">{escape(name)}</text>'
        )
        at += 34 + round(6.6 * len(name))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}"
        f'<g class="stays"><text class="title" x="{LEFT}" y="16">{escape(title)}</text>'
        f"{''.join(marks)}</g></svg>"
    )


def _grid(
    frame: _Frame, axis: Axis, x_text: Callable[[float], str], x_ticks: Sequence[float]
) -> str:
    ticks = log_ticks(frame.y0, frame.y1) if frame.log else nice_ticks(frame.y0, frame.y1)
    parts, labels = [], []
    for tick in ticks:
        y = frame.py(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        labels.append(
            f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">'
            f"{escape(axis.text(tick))}</text>"
        )
    parts.append(f'<g class="stays">{"".join(labels)}</g>')
    base = HEIGHT - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    for tick in x_ticks:
        parts.append(
            f'<text x="{frame.px(tick):.1f}" y="{HEIGHT - 10}" text-anchor="middle">'
            f"{escape(x_text(tick))}</text>"
        )
    return "".join(parts)


def _shades(frame: _Frame, shades: Sequence[Shade]) -> str:
    parts = []
    free_from = 0.0
    for shade in shades:
        left = frame.px(max(frame.x0, min(frame.x1, shade.start)))
        right = frame.px(max(frame.x0, min(frame.x1, shade.end)))
        if right > left:
            parts.append(
                f'<rect class="{shade.kind}" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" '
                f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(shade.label)}</title></rect>'
            )
            middle, half = (left + right) / 2, MARK_WIDTH * len(shade.mark) / 2
            # One mark over another tells neither: the label under the pointer is always there.
            if shade.mark and middle - half >= free_from:
                free_from = middle + half + 3
                parts.append(
                    f'<text class="mark" x="{middle:.1f}" y="{TOP - 2}" '
                    f'text-anchor="middle">{escape(shade.mark)}</text>'
                )
    return "".join(parts)


def _strips(frame: _Frame, texts: Mapping[float, str]) -> str:
    """Upright strips around each x, whose tooltips hold its values."""
    xs = sorted(texts)
    xs = xs[:: -(-len(xs) // STRIPS_MAX) or 1]
    edges = [frame.px((a + b) / 2) for a, b in pairwise(xs)]
    parts = []
    for x, left, right in zip(xs, [LEFT, *edges], [*edges, WIDTH - RIGHT], strict=True):
        parts.append(
            f'<rect class="strip" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(texts[x])}</title></rect>'
        )
    return "".join(parts)


def _seconds(value: float) -> str:
    return f"{value:g} s"


def _y_range(axis: Axis, ys: Sequence[float]) -> tuple[float, float]:
    if axis.log:
        positive = [y for y in ys if y > 0] or [1.0]
        low = float(10 ** math.floor(math.log10(min(positive))))
        return low, max(max(positive) * 1.15, low * 10)
    top = max(*ys, axis.least)
    return min(0.0, *ys), top * 1.06 if top > 0 else 1.0


def _path(frame: _Frame, line: Line) -> str:
    """Path data of a line, interrupted where a value is missing."""
    path, pen_down = [], False
    for x, y in line.points:
        if y is not None:
            path.append(f"{'L' if pen_down else 'M'}{frame.px(x):.1f} {frame.py(y):.1f}")
        pen_down = y is not None
    return "".join(path)


def line_plot(
    title: str,
    lines: Sequence[Line],
    *,
    axis: Axis | None = None,
    shades: Sequence[Shade] = (),
    x_text: Callable[[float], str] = _seconds,
    x_ticks: Sequence[float] | None = None,
    dots: bool = False,
) -> str:
    """Lines over x. Empty series give an empty plot with its title."""
    axis = axis or Axis()
    xs = [x for line in lines for x, y in line.points if y is not None]
    ys = [y for line in lines for _, y in line.points if y is not None]
    ys += [value for _, value in axis.limits]
    if not xs:
        return _document(title, [f'<text x="{LEFT}" y="{HEIGHT / 2}">nothing recorded</text>'])
    frame = _Frame((min(xs), max(xs)), _y_range(axis, ys), log=axis.log)
    ticks = nice_ticks(frame.x0, frame.x1, 8) if x_ticks is None else x_ticks
    ticks = [tick for tick in ticks if frame.x0 <= tick <= frame.x1]
    parts = [_shades(frame, shades), _grid(frame, axis, x_text, ticks)]
    for name, value in axis.limits:
        y = frame.py(value)
        parts.append(
            f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{WIDTH - RIGHT}" y="{y - 4:.1f}" text-anchor="end">{escape(name)}</text>'
        )
    colours = dict(zip(dict.fromkeys(line.name for line in lines), COLOURS, strict=False))
    for line in lines:
        if (colour := colours.get(line.name)) is None:
            break
        dashed = " dashed" if line.dashed else ""
        parts.append(
            f'<path class="line {colour}{dashed}" d="{_path(frame, line)}">'
            f"<title>{escape(line.name)}</title></path>"
        )
        if dots:
            parts += [
                f'<circle class="line {colour}" r="3" cx="{frame.px(x):.1f}" '
                f'cy="{frame.py(y_value):.1f}"/>'
                for x, y_value in line.points
                if y_value is not None
            ]
    texts: dict[float, str] = {}
    for line in lines:
        for x, y_value in line.points:
            if y_value is not None:
                texts.setdefault(x, x_text(x))
                texts[x] += f"\n{line.name}: {axis.text(y_value)}"
    for x in texts:
        faults = [s.label for s in shades if s.kind == "fault" and s.start <= x <= s.end]
        texts[x] = "\n".join([texts[x], *faults])
    parts.append(_strips(frame, texts))
    return _document(title, parts, [(colour, name) for name, colour in colours.items()])


def heat_map(
    title: str,
    columns: Mapping[int, Mapping[int, int]],
    *,
    bounds: Callable[[int], tuple[float, float]],
    shades: Sequence[Shade] = (),
) -> str:
    """Counts by second and bucket; `bounds` gives a bucket's lowest and highest µs.

    Darkness is the share within the second, on a square-root scale, so that a
    few late listeners still show.
    """
    buckets = sorted({bucket for column in columns.values() for bucket in column})
    if not buckets:
        return _document(title, [f'<text x="{LEFT}" y="{HEIGHT / 2}">nothing recorded</text>'])
    low = max(1.0, bounds(buckets[0])[0])
    high = max(bounds(buckets[-1])[1], low * 10)
    frame = _Frame((min(columns), max(columns) + 1), (low, high), log=True)
    parts = [
        _shades(frame, shades),
        _grid(frame, Axis(text=duration, log=True), _seconds, nice_ticks(frame.x0, frame.x1, 8)),
    ]
    for second, column in sorted(columns.items()):
        total = sum(column.values()) or 1
        left, width = frame.px(second), frame.px(second + 1) - frame.px(second)
        for bucket, count in sorted(column.items()):
            bottom, top = (frame.py(max(1.0, edge)) for edge in bounds(bucket))
            strength = max(0.06, math.sqrt(count / total))
            parts.append(
                f'<rect class="heat" x="{left:.1f}" y="{top:.1f}" width="{width + 0.3:.1f}" '
                f'height="{max(0.5, bottom - top):.1f}" opacity="{strength:.2f}"/>'
            )
    texts = {}
    for second, column in columns.items():
        most = max(column, key=lambda bucket: column[bucket])
        low_us, high_us = bounds(most)
        texts[second + 0.5] = (
            f"{second} s\n{sum(column.values()):,} samples\n"
            f"most from {duration(low_us)} to {duration(high_us)}"
        )
    parts.append(_strips(frame, texts))
    return _document(title, parts)


def percentile_plot(title: str, curves: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    """Durations by quantile, the tail stretched: x is the number of nines. Pairs (quantile, µs)."""
    lines = [
        Line(
            name=name,
            points=[(-math.log10(max(1e-6, 1 - quantile)), value) for quantile, value in pairs],
        )
        for name, pairs in curves
    ]

    def nines(value: float) -> str:
        return f"{100 * (1 - 10**-value):.{max(0, round(value) - 2)}f} %"

    # The middle of the range is worth a mark beside the nines.
    ticks = (0.0, -math.log10(0.5), 1.0, 2.0, 3.0, 4.0)
    return line_plot(title, lines, axis=Axis(text=duration, log=True), x_text=nines, x_ticks=ticks)
