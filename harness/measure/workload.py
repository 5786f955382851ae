"""The form of a run's traffic beside its rate: bursts, visits, hot users, and what listeners do.

Pure: options as somebody types them, and what follows from them. The arrival process itself is
`harness.measure.schedule`; who opens, cuts and slows streams is `harness.engines.swarm` and
`harness.traffic.slow_readers`.
"""

import heapq
import math
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from harness.measure.quantities import DURATION, NUMBER, SECONDS_MAX, parse_seconds, parse_whole
from harness.measure.schedule import NS, Profile, Segment, arrivals, mix, parse_profile
from harness.measure.trace.plan import Trace

BURSTS_MAX = 100_000
VISIT_MAX = 1000
SLOW_BYTES_PER_S = 1000
STORMS_MAX = 100
ZIPF_USERS_MAX = 10_000_000

OPTIONS = (
    (
        "--bursts",
        "bursts",
        "F/LEN/EVERY",
        "10x/1s/30s: every 30 s the rate is ten times --rate for 1 s",
    ),
    (
        "--sessions",
        "sessions",
        "N/THINK",
        "5/2s: visits of 5 submissions by one user, about 2 s of think time between them; "
        "visits begin in open loop at --rate / 5",
    ),
    (
        "--hot-users",
        "hot_users",
        "zipf:S",
        "zipf:1.1: user n gets a share as 1/n^S, so that few users get most submissions",
    ),
    (
        "--trace",
        "trace",
        "FILE",
        "play recorded traffic, CSV (at_s,user,score) or an access log, at its own times; --rate "
        "500/s plays it so fast that this is its mean",
    ),
    ("--trace-speed", "trace_speed", "FACTOR", "2: twice as fast as it was recorded"),
    (
        "--trace-pattern",
        "trace_pattern",
        "REGEX",
        "which lines of an access log are submissions; its groups (?P<user>…) and (?P<score>…) "
        "say whose, and how much",
    ),
    (
        "--listeners-ramp",
        "listeners_ramp_s",
        "SECONDS",
        "listeners come evenly within this time, while submissions are sent already",
    ),
    (
        "--listener-stay",
        "listener_stay_s",
        "SECONDS",
        "churn: each listener leaves after about this time, and another one comes in its place",
    ),
    (
        "--reconnect-storm",
        "reconnect_storm",
        "AT,…",
        "30s: all streams are cut 30 s after the first submission was due, as by a deploy, and "
        "come back at once",
    ),
    (
        "--slow-listeners",
        "slow_listeners",
        "SHARE",
        "5% or a number of the listeners read slowly: 1,000 bytes/s, or 5%/200 for 200",
    ),
)
"""Flag, field, form and help of each option, as in `harness.measure.settings`."""
DURATIONS = ("listeners_ramp_s", "listener_stay_s")


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The options as they were typed; an empty text or 0 asks for nothing."""

    bursts: str = ""
    sessions: str = ""
    hot_users: str = ""
    trace: str = ""
    trace_speed: float = 1.0
    trace_pattern: str = ""
    listeners_ramp_s: float = 0.0
    listener_stay_s: float = 0.0
    reconnect_storm: str = ""
    slow_listeners: str = ""

    def faults_of_traffic(self, *, listeners: int, players: int, length_s: float) -> Iterator[str]:
        """What is wrong with them, in a run of this length (0: without an end)."""
        for flag, read in (
            ("bursts", lambda: parse_bursts(self.bursts)),
            ("sessions", lambda: parse_sessions(self.sessions)),
            ("hot-users", lambda: parse_hot_users(self.hot_users)),
            ("reconnect-storm", lambda: parse_storms(self.reconnect_storm)),
            ("slow-listeners", lambda: parse_slow(self.slow_listeners, listeners)),
        ):
            try:
                read()
            except ValueError as error:
                yield f"--{flag}: {error}"
        if self.hot_users and players > ZIPF_USERS_MAX:
            yield f"--hot-users: at most {ZIPF_USERS_MAX:,} --players"
        for flag in ("listeners-ramp", "listener-stay"):
            value = getattr(self, f"{flag.replace('-', '_')}_s")
            if not 0 <= value < SECONDS_MAX:
                yield f"--{flag} must not be negative, and finite"
            elif value and not listeners:
                yield f"--{flag} needs listeners, and --listeners is 0"
        if 0 < self.listener_stay_s < 1:
            yield "--listener-stay must be at least 1 s"
        if length_s and self.listeners_ramp_s > length_s:
            yield (
                f"--listeners-ramp {self.listeners_ramp_s:g} s is longer than warm-up and "
                f"duration, {length_s:g} s: not all listeners would come"
            )
        yield from self._storms_that_never_come(listeners, length_s)

    def _storms_that_never_come(self, listeners: int, length_s: float) -> Iterator[str]:
        try:
            storms = parse_storms(self.reconnect_storm)
        except ValueError:
            return
        if storms and not listeners:
            yield "--reconnect-storm needs listeners, and --listeners is 0"
        if length_s and storms and storms[-1] >= length_s:
            yield (
                f"--reconnect-storm {storms[-1]:g} s comes after the last submission, which is "
                f"due at {length_s:g} s"
            )


@dataclass(frozen=True, kw_only=True)
class Workload(Traffic):
    """All that decides when submissions are due and whose they are. The same in every process."""

    rate: str
    arrivals: str = "constant"
    seed: int = 1
    players: int = 1
    played: Trace | None = None
    """What `trace` holds."""

    def profile(self, length_s: float) -> Profile:
        """The rate over time, of a run of this length; 0 is one without an end. Of a trace it is
        the mean over the run."""
        profile = parse_profile(self.rate)
        if self.played is not None and length_s:
            mean = self.played.count(length_s) / length_s
            segment = Segment(duration_s=length_s, rate_start=mean, rate_end=mean)
            return Profile(text=self.rate, segments=(segment,))
        if length_s:
            profile = profile.cut(length_s)
        bursts = parse_bursts(self.bursts)
        return with_bursts(profile, bursts) if bursts else profile

    def schedule(
        self, length_s: float, *, slice_index: int = 0, slice_count: int = 1
    ) -> Iterator[tuple[int, int]]:
        """Pairs (number, due in ns) in the order of time. Within visits numbers are out of order:
        those of visit v are v*N to v*N+N-1."""
        if self.played is not None:
            for number, due in self.played.schedule(length_s):
                if number % slice_count == slice_index:
                    yield number, due
            return
        profile = self.profile(length_s)
        visits = parse_sessions(self.sessions)
        poisson = self.arrivals == "poisson"
        if visits is None:
            yield from arrivals(
                profile,
                seed=self.seed,
                poisson=poisson,
                slice_index=slice_index,
                slice_count=slice_count,
            )
            return
        begun = arrivals(scaled(profile, 1 / visits.length), seed=self.seed, poisson=poisson)
        for number, due in in_visits(begun, visits, seed=self.seed, end_s=length_s or math.inf):
            if number % slice_count == slice_index:
                yield number, due

    @property
    def visit_length(self) -> int:
        """Submissions of one visit; 1 where there are none."""
        visits = parse_sessions(self.sessions)
        return visits.length if visits else 1

    def popularity(self) -> "Popularity | None":
        """How often each user is chosen; None for all alike."""
        exponent = parse_hot_users(self.hot_users)
        return Popularity(self.players, exponent) if exponent else None


# What is typed


@dataclass(frozen=True, slots=True)
class Bursts:
    """Every `every_s` the rate is `factor` times itself, for `length_s`."""

    factor: float
    length_s: float
    every_s: float


@dataclass(frozen=True, slots=True)
class Visits:
    """So many submissions by one user, with so much time between two of them on average."""

    length: int
    think_s: float


_BURSTS = re.compile(rf"(?P<f>{NUMBER})x/(?P<s>{DURATION})/(?P<every>{DURATION})")
_SESSIONS = re.compile(rf"(?P<n>\d{{1,6}})/(?P<think>{DURATION})")
_ZIPF = re.compile(rf"zipf:({NUMBER})")
_SLOW = re.compile(rf"(?:(?P<share>{NUMBER})%|(?P<n>\d{{1,9}}))(?:/(?P<bytes>\d{{1,9}}[kM]?))?")


def parse_bursts(text: str) -> Bursts | None:
    """Reads `10x/1s/30s`. Raises ValueError."""
    if not text:
        return None
    match = _BURSTS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no form of bursts; try 10x/1s/30s: factor, length, period")
    found = Bursts(float(match["f"]), parse_seconds(match["s"]), parse_seconds(match["every"]))
    if not 0 < found.length_s < found.every_s:
        raise ValueError(f"in {text!r} a burst must be longer than 0 and shorter than its period")
    return found


def parse_sessions(text: str) -> Visits | None:
    """Reads `5/2s`. Raises ValueError."""
    if not text:
        return None
    match = _SESSIONS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no form of visits; try 5/2s: submissions, think time")
    found = Visits(int(match["n"]), parse_seconds(match["think"]))
    if not 1 <= found.length <= VISIT_MAX or found.think_s <= 0:
        raise ValueError(f"a visit has 1 to {VISIT_MAX} submissions and a think time above 0")
    return found


def parse_hot_users(text: str) -> float:
    """The exponent of `zipf:1.1`, 0 for none. Raises ValueError."""
    if not text:
        return 0.0
    match = _ZIPF.fullmatch(text.strip())
    if match is None or not 0 < float(match[1]) <= 10:
        raise ValueError(f"{text!r} is no popularity; try zipf:1.1, with an exponent up to 10")
    return float(match[1])


def parse_storms(text: str) -> tuple[float, ...]:
    """Moments of storms in seconds, ascending. Raises ValueError."""
    moments = sorted(parse_seconds(part) for part in text.split(",")) if text.strip() else []
    if len(moments) > STORMS_MAX:
        raise ValueError(f"{len(moments)} storms are more than {STORMS_MAX}")
    return tuple(moments)


def parse_slow(text: str, listeners: int) -> tuple[int, int]:
    """How many of the listeners read slowly, and how many bytes/s each. Raises ValueError.

    Of the listeners of a share at least one is slow; one of them all is not.
    """
    if not text:
        return 0, SLOW_BYTES_PER_S
    match = _SLOW.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no share of listeners; try 5%, 20 or 5%/200 (bytes/s)")
    bytes_per_s = parse_whole(match["bytes"]) if match["bytes"] else SLOW_BYTES_PER_S
    if match["share"] is not None and float(match["share"]) <= 100:
        share = float(match["share"]) / 100
        count = max(1, round(listeners * share)) if share else 0
    else:
        count = int(match["n"] or listeners + 1)
    if bytes_per_s < 1:
        raise ValueError("a slow listener reads at least 1 byte/s")
    if count and count >= listeners:
        raise ValueError(
            f"{text!r} of {listeners} listeners leaves none that reads at full speed, and nothing "
            "could be judged"
        )
    return count, bytes_per_s


# What follows from it


def scaled(profile: Profile, factor: float) -> Profile:
    """The same profile with another rate."""
    segments = (
        replace(s, rate_start=s.rate_start * factor, rate_end=s.rate_end * factor)
        for s in profile.segments
    )
    return Profile(text=profile.text, segments=tuple(segments))


def with_bursts(profile: Profile, bursts: Bursts) -> Profile:
    """The profile with its bursts; the first one begins after one period. Of a profile without an
    end the first BURSTS_MAX periods have them."""
    kept: list[Segment] = []
    edges = _edges(bursts)
    at_s, factor = 0.0, 1.0
    edge_s, next_factor = next(edges)
    for segment in profile.segments:
        done_s = 0.0
        while done_s < segment.duration_s:
            if at_s >= edge_s:
                factor = next_factor
                edge_s, next_factor = next(edges)
            end_s = min(segment.duration_s, done_s + edge_s - at_s)
            whole = end_s >= segment.duration_s
            rate_end = segment.rate_end if whole else segment.rate_at(end_s)
            kept.append(
                Segment(
                    duration_s=end_s - done_s,
                    rate_start=segment.rate_at(done_s) * factor,
                    rate_end=rate_end * factor,
                )
            )
            at_s = at_s + end_s - done_s if whole else edge_s
            done_s = end_s
    return Profile(text=profile.text, segments=tuple(kept))


def _edges(bursts: Bursts) -> Iterator[tuple[float, float]]:
    """When the factor of the rate changes, and to what."""
    for period in range(1, BURSTS_MAX + 1):
        yield period * bursts.every_s, bursts.factor
        yield period * bursts.every_s + bursts.length_s, 1.0
    yield math.inf, 1.0


def in_visits(
    begun: Iterator[tuple[int, int]], visits: Visits, *, seed: int, end_s: float
) -> Iterator[tuple[int, int]]:
    """The submissions of all visits, in the order of time, before `end_s`.

    Think times are spread evenly between half the mean and one and a half times it.
    """
    end_ns = end_s * NS
    waiting: list[tuple[int, int]] = []
    begin = next(begun, None)
    while waiting or begin is not None:
        if begin is not None and (not waiting or begin[1] <= waiting[0][0]):
            heapq.heappush(waiting, (begin[1], begin[0] * visits.length))
            begin = next(begun, None)
            continue
        due, number = heapq.heappop(waiting)
        if due >= end_ns:
            continue
        yield number, due
        if (number + 1) % visits.length:
            share = 0.5 + mix(seed ^ _THINKING, number) / 2**64
            heapq.heappush(waiting, (due + int(visits.think_s * share * NS), number + 1))


_THINKING = 0x7468696E6B


class Popularity:
    """Zipf's law over users 1 to n: the r-th has a share as 1/r^s. Memory: 8 bytes a user."""

    def __init__(self, users: int, exponent: float) -> None:
        self._sums = array("d", accumulate(rank**-exponent for rank in range(1, users + 1)))

    def user(self, bits: int) -> int:
        """The user of 64 even bits."""
        place = bisect_left(self._sums, bits / 2**64 * self._sums[-1])
        return min(place, len(self._sums) - 1) + 1
