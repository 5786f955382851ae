"""When submissions are due: pure, seeded functions of a profile. Not who sends them.

A profile gives the rate over time. Arrivals are the points where its integral
passes 1, 2, 3, … (evenly spaced) or the sums of unit exponentials (Poisson), so
both kinds follow every profile exactly. The whole sequence is a function of
profile and seed; a worker takes every k-th of it, so the union over any number
of workers is the same sequence.
"""

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from harness.measure.quantities import DURATION, RATE, parse_rate, parse_seconds

NS = 1_000_000_000


class BadProfile(ValueError):
    """Unreadable text of a profile; the message names the expected form."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A period in which the rate changes linearly from start to end."""

    duration_s: float
    rate_start: float
    rate_end: float

    @property
    def arrivals(self) -> float:
        """The integral of the rate over the segment."""
        if self.rate_start == self.rate_end == 0:
            return 0.0
        return (self.rate_start + self.rate_end) / 2 * self.duration_s

    def rate_at(self, time_s: float) -> float:
        """Arrivals per second at `time_s` after the segment's start."""
        if self.duration_s == 0 or math.isinf(self.duration_s):
            return self.rate_start
        return self.rate_start + (self.rate_end - self.rate_start) * time_s / self.duration_s

    def time_of(self, area: float) -> float:
        """When the integral reaches `area`, 0 <= area <= arrivals, in seconds from its start."""
        slope = (
            0.0
            if math.isinf(self.duration_s)
            else (self.rate_end - self.rate_start) / self.duration_s
        )
        if slope == 0:
            return area / self.rate_start
        # The root of slope/2 t² + rate_start t = area, in the form that does not cancel.
        root = math.sqrt(max(0.0, self.rate_start**2 + 2 * slope * area))
        return 2 * area / (self.rate_start + root)


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Segments one after the other. A segment of infinite length may only be the last."""

    text: str
    segments: tuple[Segment, ...]

    @property
    def submits(self) -> bool:
        """Whether it has any arrival: the rate `0` has none."""
        return any(segment.arrivals > 0 for segment in self.segments)

    @property
    def duration_s(self) -> float:
        """Length in seconds; infinite when the last rate is held."""
        return sum(segment.duration_s for segment in self.segments)

    def rate_at(self, time_s: float) -> float:
        """Arrivals per second at `time_s` after the start; 0 outside the profile."""
        for segment in self.segments:
            if time_s < segment.duration_s:
                return segment.rate_at(time_s)
            time_s -= segment.duration_s
        return 0.0

    def cut(self, duration_s: float) -> "Profile":
        """The first `duration_s` seconds of it."""
        kept: list[Segment] = []
        left = duration_s
        for segment in self.segments:
            if left <= 0:
                break
            length = min(left, segment.duration_s)
            kept.append(
                Segment(
                    duration_s=length,
                    rate_start=segment.rate_start,
                    rate_end=segment.rate_at(length)
                    if length < segment.duration_s
                    else segment.rate_end,
                )
            )
            left -= length
        return Profile(text=self.text, segments=tuple(kept))


_STEP = re.compile(rf"(?P<start>{RATE})(-(?P<end>{RATE}))?(x(?P<s>{DURATION}))?")
_SPIKE = re.compile(
    rf"spike:(?P<base>{RATE})-(?P<peak>{RATE})@(?P<at>{DURATION})\+(?P<s>{DURATION})"
)


def parse_profile(text: str) -> Profile:
    """Read a profile. Raises BadProfile.

    `1000` holds a rate, as `1k` and `100/m` do; `100-2000x60` ramps for 60 s; a comma joins
    steps (`500x10,1000x10s,2000`); `spike:1000-5000@20+2` holds 1000 and leaps to 5000 for 2 s
    at second 20. A part without a duration is held without end and comes last. `0` submits
    nothing, for a run of listeners alone.
    """
    text = text.strip()
    try:
        return Profile(text=text, segments=tuple(_segments(text)))
    except BadProfile:
        raise
    except ValueError as error:
        raise BadProfile(str(error)) from None


def _segments(text: str) -> list[Segment]:
    spike = _SPIKE.fullmatch(text)
    if spike:
        base, peak = parse_rate(spike["base"]), parse_rate(spike["peak"])
        at_s, length_s = parse_seconds(spike["at"]), parse_seconds(spike["s"])
        segments = [
            Segment(duration_s=at_s, rate_start=base, rate_end=base),
            Segment(duration_s=length_s, rate_start=peak, rate_end=peak),
            Segment(duration_s=math.inf, rate_start=base, rate_end=base),
        ]
        segments = [s for s in segments if s.duration_s > 0]
    else:
        segments = [_step(text, part.strip()) for part in text.split(",")]
    if any(math.isinf(segment.duration_s) for segment in segments[:-1]):
        raise BadProfile(f"in {text!r} only the last part may lack a duration")
    if len(segments) > 1 and math.isinf(segments[-1].duration_s) and not segments[-1].rate_start:
        raise BadProfile("a rate of 0 cannot be held without end after others")
    return segments


def _step(text: str, part: str) -> Segment:
    step = _STEP.fullmatch(part)
    if step is None:
        raise BadProfile(
            f"{text!r} is not an arrival profile; try 1000, 1k, 100/m, 500x10,1000x10, "
            "100-2000x60s or spike:1000-5000@20+2"
        )
    start = parse_rate(step["start"])
    end = parse_rate(step["end"]) if step["end"] else start
    if step["s"] is None and end != start:
        raise BadProfile(f"the ramp {part!r} needs a duration, as in {part}x60")
    duration_s = parse_seconds(step["s"]) if step["s"] else math.inf
    return Segment(duration_s=duration_s, rate_start=start, rate_end=end)


def arrivals(
    profile: Profile, *, seed: int, poisson: bool, slice_index: int = 0, slice_count: int = 1
) -> Iterator[tuple[int, int]]:
    """Pairs (number, due) in order: `due` in ns from the start, numbers 0, 1, 2, … over all slices.

    This slice gets the numbers that leave `slice_index` modulo `slice_count`.
    Ends with the profile; endless when that is.
    """
    draw = random.Random(seed).expovariate
    area = 0.0
    begin_s = 0.0
    begin_area = 0.0
    segments = iter(profile.segments)
    segment = next(segments, None)
    for number in count():
        # Evenly spaced arrivals stand in the middle of their share, so none is due at 0 sharp.
        area = area + draw(1.0) if poisson else number + 0.5
        while segment is not None and area - begin_area >= segment.arrivals:
            begin_area += segment.arrivals
            begin_s += segment.duration_s
            segment = next(segments, None)
        if segment is None:
            return
        if number % slice_count == slice_index:
            yield number, round((begin_s + segment.time_of(area - begin_area)) * NS)


_MASK = (1 << 64) - 1


def mix(seed: int, number: int) -> int:
    """64 well mixed bits of (seed, number): splitmix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    z = (seed * 0x9E3779B97F4A7C15 + (number + 1) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
