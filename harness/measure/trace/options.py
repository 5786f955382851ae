"""What a trace makes of the other options of a run: its rate and its length. Pure."""

import math
from collections.abc import Container, Iterator, Mapping
from typing import Any

from harness.measure.quantities import DAY_S, SECONDS_MAX, parse_rate
from harness.measure.trace.plan import Trace
from harness.measure.trace.rows import BadTrace
from harness.measure.trace.trace_file import TraceFile

SPEED_MAX = 1e6
OTHERS = ("bursts", "sessions", "hot_users")


def parse_speed(text: str) -> float:
    """Reads `2`, `2x` or `0.5`. Raises ValueError."""
    try:
        speed = float(text.strip().removesuffix("x"))
    except ValueError:
        speed = math.nan
    if not 0 < speed <= SPEED_MAX:
        raise ValueError(f"{text!r} is no speed; try 2 for twice as fast, or 0.5")
    return speed


def settled(values: Mapping[str, Any], *, asked: Container[str]) -> dict[str, Any]:
    """The values of a run with the trace that they name: read, at the speed that gives the rate,
    where one is `asked` for, and as long as it takes, where no other length is. A second time it
    changes nothing. Raises BadTrace.
    """
    path = values.get("trace") or ""
    if not path:
        return {**values}
    file = TraceFile.read(path, values.get("trace_pattern") or "")
    speed = values.get("trace_speed") or 1.0
    if "rate" in asked:
        wanted = _speed_of(values["rate"], file.trace)
        if speed == 1.0:
            speed = wanted
        elif not math.isclose(wanted, speed, rel_tol=1e-3):
            raise BadTrace("--trace-speed and --rate both say how fast it is played: give one")
    played = file.trace.at_speed(speed)
    found = {**values, "trace": file, "trace_speed": speed, "rate": rate_of(played)}
    if "duration_s" not in asked:
        warm_up_s = values["warmup_s"]
        whole_s = math.ceil(played.length_s)
        if whole_s - warm_up_s < 1:
            raise BadTrace(
                f"it lasts {whole_s:,} s, and the warm-up takes {warm_up_s:g} of them: give a "
                "--warmup that is at least a second shorter, or a --duration in which it begins "
                "again"
            )
        found["duration_s"] = whole_s - warm_up_s
    return found


def _speed_of(rate: str, trace: Trace) -> float:
    """How fast the trace must be played for a mean rate."""
    try:
        speed = parse_rate(rate) / trace.rate
    except ValueError:
        raise BadTrace(
            f"--rate {rate}: beside a trace it is one rate, such as 500/s, the mean at which the "
            "trace is played"
        ) from None
    if not 0 < speed <= SPEED_MAX:
        raise BadTrace(f"--rate {rate} is {speed:g} times the rate of the trace")
    return speed


def rate_of(trace: Trace) -> str:
    """Its mean rate as a profile of `--rate`."""
    return f"{max(trace.rate, 0.001):.6f}".rstrip("0").rstrip(".")


def faults_of_trace(values: Mapping[str, Any]) -> Iterator[str]:
    """Which other options of a run a trace leaves no room for."""
    trace = values["trace"]
    for name in ("speed", "pattern"):
        if not trace and values[f"trace_{name}"] not in ("", 1.0):
            yield f"--trace-{name} needs --trace"
    if not trace:
        return
    for name in OTHERS:
        if values[name]:
            flag = name.replace("_", "-")
            yield f"--{flag} and --trace: a trace has its own times and users; leave one out"
    if values["arrivals"] != "constant":
        yield f"--arrivals {values['arrivals']} and --trace: a trace has its own times"
    if isinstance(trace, TraceFile) and trace.trace.length_s > SECONDS_MAX:
        days = trace.trace.length_s / DAY_S
        yield f"--trace: {trace} lasts {days:,.0f} days, and a run 30 at most: cut it into several"
