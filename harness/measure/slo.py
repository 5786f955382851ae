"""Limits that a run must keep, as text and as a judgement. Not where figures come from.

`p99<250ms, lag_p99<500ms, errors<0.1%, goodput>990/s`: a figure, `<` or `>`, a
value with its unit. Response times are `p50`, `p99.9`, `max`; other histograms
carry their name in front (`lag_p99`, `service_p90`, `reach_last_p99`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class BadSlo(ValueError):
    """The text names no limit; the message says what was expected."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """`figure` must be below (or above) `value`, in µs, a share, or per second."""

    text: str
    figure: str
    below: bool
    value: float


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A limit and what was measured: `measured` is None where there was too little to tell."""

    limit: Limit
    measured: float | None

    @property
    def kept(self) -> bool:
        """Whether the limit holds. Too little measured does not hold."""
        if self.measured is None:
            return False
        if self.limit.below:
            return self.measured < self.limit.value
        return self.measured > self.limit.value


_LIMIT = re.compile(
    r"(?P<figure>[a-z_0-9.]+)\s*(?P<op>[<>])\s*(?P<n>\d+(\.\d+)?)\s*(?P<unit>[a-zµ%/]*)"
)
_UNITS = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6, "%": 0.01, "": 1.0, "/s": 1.0}
_TIME = re.compile(r"(.+_)?(p\d+(\.\d+)?|max)")
SHARES = ("errors", "dropped", "unknown", "waited")
RATES = ("goodput", "throughput", "rate")


def parse_slo(text: str) -> tuple[Limit, ...]:
    """Limits separated by commas or lines; `#` begins a comment. Raises BadSlo."""
    limits = []
    for part in re.split(r"[,\n]", re.sub(r"#[^\n]*", "", text)):
        part = part.strip()
        if not part:
            continue
        match = _LIMIT.fullmatch(part)
        if match is None or match["unit"] not in _UNITS:
            raise BadSlo(f"{part!r} is no limit; try p99<250ms, errors<0.1% or goodput>990/s")
        figure, unit = match["figure"], match["unit"]
        is_time = _TIME.fullmatch(figure) is not None
        if not is_time and figure not in SHARES + RATES:
            raise BadSlo(f"{figure!r} is no figure; try p99, lag_p99, {', '.join(SHARES + RATES)}")
        if is_time and unit not in ("us", "µs", "ms", "s"):
            raise BadSlo(f"{part!r} needs us, ms or s")
        if figure in SHARES and unit not in ("%", ""):
            raise BadSlo(f"{part!r} needs %")
        limits.append(
            Limit(
                text=part,
                figure=figure,
                below=match["op"] == "<",
                value=float(match["n"]) * _UNITS[unit],
            )
        )
    return tuple(limits)


def load_slo(text_or_path: str) -> tuple[Limit, ...]:
    """Limits from text, or from the file of that name. Raises BadSlo and OSError."""
    if text_or_path and "<" not in text_or_path and ">" not in text_or_path:
        return parse_slo(Path(text_or_path).read_text())
    return parse_slo(text_or_path)


def histogram_and_quantile(figure: str) -> tuple[str, float] | None:
    """`lag_p99` is ("lag", 0.99); a bare `p99` is of response; None for shares and rates."""
    match = _TIME.fullmatch(figure)
    if match is None:
        return None
    name = (match[1] or "response_")[:-1]
    return name, 1.0 if match[2] == "max" else float(match[2][1:]) / 100


def judge(limits: tuple[Limit, ...], figures: Mapping[str, float | None]) -> list[Kept]:
    """Each limit beside its figure; a figure that is not there counts as not measured."""
    return [Kept(limit=limit, measured=figures.get(limit.figure)) for limit in limits]
