"""From evidence to a verdict on each promise. Pure: no clock, socket, file or database.

One invariant family per file. ``check`` asks them all; ``overall`` joins the answers: one
violation convicts, one doubt keeps from acquitting. Half a million operations take seconds.
"""

from dataclasses import dataclass, field, replace

from harness.checker import (
    authority,
    by_content,
    exactly_once,
    ledger,
    limits,
    liveness,
    reads,
    streams,
    vacuity,
)
from harness.checker.evidence import Evidence, gather
from harness.checker.histories import one_history
from harness.checker.vacuity import Demands
from harness.checker.verdict import Finding, Verdict, overall

__all__ = [
    "Demands",
    "Evidence",
    "Finding",
    "Promises",
    "Verdict",
    "check",
    "gather",
    "overall",
    "promises_of",
]


@dataclass(frozen=True, kw_only=True)
class Promises:
    """What the run is held to beyond the contract."""

    visible_within_s: float = 15.0
    limit_slack_ms: int = 50
    demands: Demands = field(default_factory=Demands)
    skip: frozenset[str] = frozenset()
    """Invariants not asked for, by their short name (``I4``): a black box has no Redis."""
    rejections_allowed: bool = True
    resets_allowed: bool = True
    reads_in_one_order: bool = False
    """A read that begins after another client's has ended is not older either."""


NOT_IN_A_LOAD_RUN = frozenset({"I4", "I7", "I8", "I9"})
"""A load run samples no Redis, attacks nobody, repeats nothing, and stays below every limit."""
LOAD_VISIBLE_WITHIN_S = 60.0


def promises_of(evidence: Evidence, given: Promises | None = None) -> Promises:
    """What the run that left this evidence can be held to, beyond what was `given`.

    A load run says of itself that it is one, and which of its halves it left out by plan; so it
    is judged alike when it ends and whenever its files are judged again.
    """
    held = given or Promises()
    skip = set(held.skip)
    if evidence.database is None:
        skip.add("I4")
    if evidence.kind != "load":
        return replace(held, skip=frozenset(skip))
    skip |= NOT_IN_A_LOAD_RUN
    demands = held.demands
    if evidence.database is None and not evidence.names and not evidence.by_content:
        # Nobody tells which name belongs to which user id, so no submission can be followed.
        skip.add("I10")
    if not evidence.listens_by_plan:
        skip |= {"I5", "I10"}
        if evidence.database is None:
            # Nothing shows the single changes.
            skip |= {"I2"} if evidence.by_content else {"I2", "I3"}
    if not evidence.submits:
        skip |= {"I1", "I2", "I10"}
        demands = replace(demands, accepted_min=0, listeners_min=1)
    return replace(
        held,
        skip=frozenset(skip),
        demands=demands,
        visible_within_s=(
            LOAD_VISIBLE_WITHIN_S
            if held.visible_within_s == Promises.visible_within_s
            else held.visible_within_s
        ),
        rejections_allowed=False,
        resets_allowed=False,
    )


def check(
    evidence: Evidence,
    promises: Promises | None = None,
    account: by_content.Account | None = None,
) -> list[Finding]:
    """The finding on every invariant, in the order of their numbers.

    `account` is that of the evidence where its events have no ids to follow, if it is known.
    """
    held = promises or Promises()
    if evidence.by_content:
        account = account or by_content.account_of(evidence)
        findings = [
            *by_content.check(
                evidence,
                account,
                visible_within_s=held.visible_within_s,
                asked=held.visible_within_s != LOAD_VISIBLE_WITHIN_S,
            ),
            vacuity.check(evidence, held.demands),
        ]
        return [f for f in findings if f.invariant.split()[0] not in held.skip]
    findings = [
        exactly_once.check(evidence, rejections_allowed=held.rejections_allowed),
        ledger.check(evidence),
        reads.check(evidence),
        reads.check_redis(evidence),
        streams.check(evidence, resets_allowed=held.resets_allowed),
        reads.check_regress(evidence, one_order=held.reads_in_one_order),
        authority.check(evidence),
        exactly_once.check_answers(evidence),
        limits.check(evidence, slack_ms=held.limit_slack_ms),
        liveness.check(evidence, visible_within_s=held.visible_within_s),
        *([one_history.check(evidence)] if evidence.losses else []),
        vacuity.check(evidence, held.demands),
    ]
    return [f for f in findings if f.invariant.split()[0] not in held.skip]
