"""Limits that a run must keep: reading them, and judging measured figures. Not where figures
come from.

A limit is a figure, an operator and a value with its unit:

    p99<250ms  lag_p99<=0.5s  errors<0.1%  goodput>=990/s
    p99:250ms  lag_p99:0.5s   errors:0.1%  goodput:990/s     (no quotes needed in a shell)

A colon means "at most", for rates "at least". Percentiles are `p50` to `p99.9…` and `max`; a
bare one is of the response time, others name their duration (`lag_p99`, `reach_last_max`).
`@FILE` reads limits from a file: TOML (`p99 = "250ms"`) where its name ends in `.toml`, else
one limit per line. Everything that is wrong is told at once.

A run that submits is held to `DEFAULT_LIMITS` besides: a limit of the same figure replaces one of
them, and the word `none` among the limits leaves them out.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from harness.capabilities import Capabilities, why_unmeasured
from harness.measure.figures import DURATION_NAMES, PERCENTILES, RATES, SHARES
from harness.measure.histogram import MAX_US, MIN_SAMPLES_BEYOND
from harness.measure.quantities import NUMBER, parse_rate

EXAMPLE = "try p99<250ms, errors<0.1% or goodput>990/s (p99:250ms needs no quotes in a shell)"
NONE = "none"
"""Among limits: hold the run to no default limit."""
_DEFAULT_DURATION = "response"
_LIMIT = re.compile(rf"([A-Za-z_0-9.]+)\s*(<=|>=|<|>|:)\s*({NUMBER})\s*([A-Za-zµ%/]*)")
_OPERATORS = re.compile(r"[<>:=]")
_PERCENTILE = re.compile(r"(?:(.+)_)?(p\d+(?:\.\d+)?|max)")
_BY_KEY = {percentile.key: percentile.quantile for percentile in PERCENTILES}
_US = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}
_KNOWN = (
    *SHARES,
    *RATES,
    *(p.label for p in PERCENTILES),
    *(f"{name}_{p.label}" for name in DURATION_NAMES for p in PERCENTILES),
)


class BadSlo(ValueError):
    """The text holds something that is no limit; the message says what, and what was expected."""


@dataclass(frozen=True, kw_only=True)
class SloLimit:
    """`figure` compared with `value`: µs for durations, 0 to 1 for shares, per second for rates.

    `operator` is one of `<`, `<=`, `>`, `>=`.
    """

    text: str
    figure: str
    operator: str
    value: float

    @property
    def below(self) -> bool:
        """Whether the figure must stay below the value rather than above it."""
        return self.operator.startswith("<")

    def holds(self, measured: float) -> bool:
        """Whether a measured value keeps the limit."""
        if measured == self.value:
            return self.operator.endswith("=")
        return (measured < self.value) is self.below

    @property
    def is_duration(self) -> bool:
        """Whether the figure is in µs."""
        return histogram_and_quantile(self.figure) is not None

    @property
    def samples_min(self) -> int:
        """Samples without which the figure is not told; 1 for a maximum, 0 for no percentile."""
        found = histogram_and_quantile(self.figure)
        if found is None:
            return 0
        quantile = found[1]
        if quantile >= 1:
            return 1
        return -int(-(MIN_SAMPLES_BEYOND - 1e-9) // min(1 - quantile, max(quantile, 0.5)))


@dataclass(frozen=True, kw_only=True)
class SloResult:
    """A limit and the figure measured, None where there were not enough samples."""

    limit: SloLimit
    measured: float | None

    @property
    def verdict(self) -> str:
        """`true`, `false`, or `unknown` without enough samples."""
        if self.measured is None:
            return "unknown"
        return "true" if self.limit.holds(self.measured) else "false"

    @property
    def passed(self) -> bool:
        """Whether the limit holds. A limit with too few samples fails."""
        return self.verdict == "true"


def parse_slo(text: str) -> tuple[SloLimit, ...]:
    """Limits separated by commas, semicolons or lines; `#` begins a comment. Raises BadSlo."""
    parts = re.split(r"[,;\n]", re.sub(r"#[^\n]*", "", text))
    return _all(part.strip() for part in parts if part.strip() not in ("", NONE))


def load_slo(text_or_file: str) -> tuple[SloLimit, ...]:
    """Limits from text, or from a file: `@FILE`, or the bare name of one. Raises BadSlo."""
    name = text_or_file.strip()
    if name.startswith("@"):
        path = Path(name[1:])
    elif not name or _OPERATORS.search(name) or not Path(name).is_file():
        return parse_slo(name)
    else:
        path = Path(name)
    try:
        text = path.read_text("utf-8")
        if path.suffix != ".toml":
            return parse_slo(text)
        return _all(_entries(tomllib.loads(text)))
    except OSError as error:
        raise BadSlo(f"{path}: {error.strerror}") from None
    except BadSlo as error:
        raise BadSlo(f"in {path}: {error}") from None
    except ValueError as error:
        raise BadSlo(f"{path} is not TOML: {error}") from None


def joined(values: Sequence[str]) -> str:
    """The limits of an option that was given several times, files read. Raises BadSlo."""
    if len(values) < 2:
        return "".join(values)
    files = {v for v in values if v.startswith("@") or Path(v).is_file()}
    return ",".join(canonical(load_slo(v)) if v in files else v for v in values)


def _entries(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`p99 = "250ms"` as `p99:250ms`. An unquoted `p99.9 = …` is a table inside a table."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _entries(value, f"{prefix}{name}.")
        else:
            entry = str(value).strip()
            yield f"{prefix}{name}{'' if _OPERATORS.match(entry) else ':'}{entry}"


def _all(parts: Iterable[str]) -> tuple[SloLimit, ...]:
    limits, faults = [], []
    for part in parts:
        try:
            limits.append(_limit(part))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise BadSlo("\n".join(faults))
    return tuple(limits)


def _limit(text: str) -> SloLimit:
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise BadSlo(f"{text!r} is not a limit; {EXAMPLE}")
    figure, operator, number, unit = match.groups()
    found = histogram_and_quantile(figure)
    if found is None and figure not in SHARES and figure not in RATES:
        raise BadSlo(f"{text!r}: there is no figure {figure!r}{_nearest(figure)}")
    if found is not None:
        value, low, high = _duration_us(text, number, unit), 0.0, float(MAX_US)
    elif figure in SHARES:
        if unit != "%" and float(number):
            raise BadSlo(f"{text!r} needs a percentage, as in {figure}{operator}0.1%")
        value, low, high = float(number) / 100, 0.0, 1.0
    else:
        try:
            value, low, high = parse_rate(number + unit), 0.0, float("inf")
        except ValueError:
            raise BadSlo(f"{text!r} needs a rate, as in {figure}{operator}990/s") from None
    if operator == ":":
        operator = ">=" if figure in RATES else "<="
    limit = SloLimit(text=text, figure=figure, operator=operator, value=value)
    if not limit.holds(low) and not limit.holds(high):
        raise BadSlo(f"{text!r} can never hold")
    if limit.holds(low) and limit.holds(high):
        raise BadSlo(f"{text!r} can never fail")
    return limit


def _duration_us(text: str, number: str, unit: str) -> float:
    if unit not in _US:
        raise BadSlo(f"{text!r} needs a unit of time: us, ms, s or m")
    return float(number) * _US[unit]


def _nearest(figure: str) -> str:
    match = _PERCENTILE.fullmatch(figure)
    name = (match[1] or _DEFAULT_DURATION) if match else ""
    if match and name in DURATION_NAMES:
        return "; percentiles are above p0 and at most p100"
    if match and (near := get_close_matches(name, DURATION_NAMES, 1)):
        return f"; did you mean {near[0]}_{match[2]}?"
    if near := get_close_matches(figure, _KNOWN, 1):
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join((*SHARES, *RATES))}, p99 and {{duration}}_p99 of " + ", ".join(
        DURATION_NAMES
    )


def histogram_and_quantile(figure: str) -> tuple[str, float] | None:
    """`lag_p99` is ("lag", 0.99); a bare `p99` is of response; None for anything else."""
    match = _PERCENTILE.fullmatch(figure)
    if match is None:
        return None
    name, percentile = match[1] or _DEFAULT_DURATION, match[2]
    # `p999` is how documents spell p99.9.
    quantile = _BY_KEY.get(percentile) or float(percentile[1:]) / 100
    return (name, quantile) if name in DURATION_NAMES and 0 < quantile <= 1 else None


def canonical(limits: Iterable[SloLimit]) -> str:
    """The limits as one text that `parse_slo` reads."""
    return ",".join(limit.text for limit in limits)


DEFAULT_LIMITS = parse_slo("errors<=1%,dropped<=0%")
"""Without limits, a server that refuses most of the load would pass. A dropped arrival is load that
was never offered, so none is allowed."""


def is_default(text: str) -> bool:
    """Whether a limit is one of the default ones, as they are spelt."""
    return any(limit.text == text for limit in DEFAULT_LIMITS)


def with_defaults(text_or_file: str) -> str:
    """The limits as one text, with the default ones that they neither replace nor leave out.

    Applied to its own answer it changes nothing. Raises BadSlo.
    """
    limits = load_slo(text_or_file)
    if NONE in (part.strip() for part in re.split(r"[,;\n]", text_or_file)):
        return ",".join(filter(None, (NONE, canonical(limits))))
    named = {limit.figure for limit in limits}
    return canonical((*limits, *(d for d in DEFAULT_LIMITS if d.figure not in named)))


def unmeasurable(limits: Iterable[SloLimit], capabilities: Capabilities) -> list[str]:
    """Limits on figures that the server cannot give, each as a sentence. Empty: all may be told."""
    told = []
    for limit in limits:
        found = histogram_and_quantile(limit.figure)
        if found and (why := why_unmeasured(capabilities, found[0])):
            told.append(f"the limit {limit.text} cannot be judged: {why}")
    return told


def judge(limits: tuple[SloLimit, ...], figures: Mapping[str, float | None]) -> list[SloResult]:
    """Each limit beside its figure; a figure that is not there counts as not measured."""
    return [SloResult(limit=limit, measured=figures.get(limit.figure)) for limit in limits]
