"""From evidence to a verdict on each promise. Pure: no clock, socket, file or database.

One invariant family per file. ``check`` asks them all; ``overall`` joins the answers: one
violation convicts, one doubt keeps from acquitting. Half a million operations take seconds.
"""

from dataclasses import dataclass, field

from harness.checker import (
    answers,
    authority,
    exactly_once,
    ledger,
    limits,
    liveness,
    reads,
    redis_board,
    streams,
    vacuity,
)
from harness.checker.evidence import Evidence, gather
from harness.checker.vacuity import Demands
from harness.checker.verdict import Finding, Verdict, overall

__all__ = ["Demands", "Evidence", "Finding", "Promises", "Verdict", "check", "gather", "overall"]


@dataclass(frozen=True, kw_only=True)
class Promises:
    """What the run is held to beyond the contract."""

    visible_within_s: float = 15.0
    limit_slack_ms: int = 50
    demands: Demands = field(default_factory=Demands)
    skip: frozenset[str] = frozenset()
    """Invariants not asked for, by their short name (``I4``): a black box has no Redis."""


def check(evidence: Evidence, promises: Promises | None = None) -> list[Finding]:
    """The finding on every invariant, in the order of their numbers."""
    held = promises or Promises()
    findings = [
        exactly_once.check(evidence),
        ledger.check(evidence),
        reads.check(evidence),
        redis_board.check(evidence),
        streams.check(evidence),
        reads.check_regress(evidence),
        authority.check(evidence),
        answers.check(evidence),
        limits.check(evidence, slack_ms=held.limit_slack_ms),
        liveness.check(evidence, visible_within_s=held.visible_within_s),
        vacuity.check(evidence, held.demands),
    ]
    return [f for f in findings if f.invariant.split()[0] not in held.skip]
