"""Which submissions look wrong for their user. Not what happens to them: they are held.

Pure rules over a few numbers kept beside each user's score, so judging costs no
query: the points of the current window and the last increments. Each rule has a
threshold; 0 turns it off. Losses are never suspicious, only gains.

A window starts with the first gain after the previous one has ended, so a user
can gain up to twice the allowance around a border; the rule is a net for bots,
not a limit (the rate limit is exact, see `ratelimit`).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

import msgspec

HISTORY = 16
"""Increments remembered for each user."""

_ROOM = 16
"""Bytes by which the stored history grows, four increments at a time: a row that gets longer
cannot be updated in place."""


class Reason(StrEnum):
    """Why a submission was held; stored with the case, so values never change."""

    LARGE_INCREMENT = "large_increment"
    POINTS_IN_WINDOW = "points_in_window"
    UNLIKE_HISTORY = "unlike_history"


@dataclass(frozen=True, kw_only=True)
class FraudRules:
    """Thresholds, in points, seconds and robust standard deviations; 0 is off.

    `unlike_history_z` only judges gains of at least `unlike_history_floor`
    points by users with HISTORY increments behind them. At `open_cases_max` open
    cases of one user, further suspicious gains are rejected instead of held: nobody
    can drown the others' cases.
    """

    large_increment: int = 100_000
    window_s: int = 60
    window_points: int = 1_000_000
    unlike_history_z: float = 50.0
    unlike_history_floor: int = 10_000
    open_cases_max: int = 20

    @property
    def active(self) -> bool:
        """Whether any rule is on."""
        return any((self.large_increment, self.window_points, self.unlike_history_z))


class Activity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the rules remember of a user; increments oldest first, at most HISTORY."""

    window_start_s: int = 0
    window_points: int = 0
    recent: tuple[int, ...] = ()


def judge(
    increment: int, *, activity: Activity, now_s: int, rules: FraudRules
) -> tuple[Reason, ...]:
    """The reasons to hold this increment, none when it may be applied."""
    if increment <= 0:
        return ()
    reasons = []
    if rules.large_increment and increment > rules.large_increment:
        reasons.append(Reason.LARGE_INCREMENT)
    if rules.window_points:
        points = _window(activity, now_s, rules)[1]
        if points + increment > rules.window_points:
            reasons.append(Reason.POINTS_IN_WINDOW)
    if (
        rules.unlike_history_z
        and increment >= rules.unlike_history_floor
        and len(activity.recent) == HISTORY
        and unlikeness(increment, activity.recent) > rules.unlike_history_z
    ):
        reasons.append(Reason.UNLIKE_HISTORY)
    return tuple(reasons)


def remember(increment: int, *, activity: Activity, now_s: int, rules: FraudRules) -> Activity:
    """The user's activity after an applied increment."""
    start_s, points = _window(activity, now_s, rules)
    return Activity(
        window_start_s=start_s,
        window_points=points + max(0, increment),
        recent=(*activity.recent, increment)[-HISTORY:],
    )


def unlikeness(increment: int, recent: Sequence[int]) -> float:
    """How far a gain lies above the user's gains, in robust standard deviations.

    Losses do not count as long as there are gains, and the upper quartile is compared as a
    steady player's gain is: neither losses nor small gains between large ones hide a larger one.
    """
    gains = sorted(points for points in recent if points > 0) or sorted(recent)
    upper = gains[3 * len(gains) // 4]
    return max(robust_z(increment, gains), robust_z(increment, [upper]))


def robust_z(value: float, history: Sequence[float]) -> float:
    """How far `value` lies above the history, in robust standard deviations.

    The modified z-score of Iglewicz and Hoaglin (1993): 0.6745 (x - median) / MAD.
    A history without spread counts as one of a twentieth of its median, at
    least one point, so that a steady player may still vary.
    """
    middle = median(history)
    spread = median(abs(item - middle) for item in history)
    return 0.6745 * (value - middle) / max(spread, abs(middle) / 20, 1)


def encode_recent(recent: Sequence[int]) -> bytes:
    """Increments as bytes for the user's row: four each, big-endian, oldest first; then zeros."""
    stored = struct.pack(f">{len(recent)}i", *recent)
    return stored.ljust(max(1, -(-len(stored) // _ROOM)) * _ROOM, b"\0")


def decode_recent(stored: bytes) -> tuple[int, ...]:
    """The increments that `encode_recent` stored; with or without room, as none is 0."""
    count = -(-len(stored.rstrip(b"\0")) // 4)
    return struct.unpack_from(f">{count}i", stored)


def _window(activity: Activity, now_s: int, rules: FraudRules) -> tuple[int, int]:
    """The window that `now_s` falls in: its start and the points gained in it so far."""
    if now_s >= activity.window_start_s + rules.window_s:
        return now_s, 0
    return activity.window_start_s, activity.window_points
