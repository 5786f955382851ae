"""Non-vacuity: did the run put the promises to a test at all?"""

from dataclasses import dataclass

from harness.checker.evidence import Evidence, FaultSpan
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.history import Outcome

TITLE = "the run saw enough: acceptances, lost answers, faults that took hold of work in flight"


@dataclass(frozen=True, kw_only=True)
class Demands:
    """What a run must have seen before anyone believes its acquittal."""

    accepted_min: int = 1
    unknown_attempts_min: int = 0
    listeners_min: int = 0
    reconnects_min: int = 0
    faults_min: int = 0
    fault_kinds_min: int = 0
    redis_samples_min: int = 0
    resets_min: int = 0
    healthy_min_s: int = 0
    """Seconds without a fault: with too few of them, nothing can be seen too late."""


def check(evidence: Evidence, demands: Demands) -> Finding:
    """The verdict on whether the run was worth judging: true or unknown, never false."""
    inquiry = Inquiry("non-vacuity", TITLE, evidence.flaws)
    accepted = sum(1 for s in evidence.submissions if s.outcome is Outcome.OK)
    unknown = sum(
        1 for s in evidence.submissions for a in s.attempts if a.outcome is Outcome.UNKNOWN
    )
    opens = sum(1 for records in evidence.listens.values() for r in records if r.what == "open")
    fired = [fault for fault in evidence.faults if fault.fired]
    kinds = {fault.kind for fault in fired}
    _at_least(inquiry, "accepted submissions", accepted, demands.accepted_min)
    _at_least(inquiry, "attempts with unknown outcome", unknown, demands.unknown_attempts_min)
    _at_least(inquiry, "listeners", len(evidence.listens), demands.listeners_min)
    _at_least(inquiry, "reconnects", opens - len(evidence.listens), demands.reconnects_min)
    resets = sum(1 for rs in evidence.listens.values() for r in rs if r.what == "reset")
    _at_least(inquiry, "resets", resets, demands.resets_min)
    _at_least(inquiry, "faults that fired", len(fired), demands.faults_min)
    _at_least(inquiry, "kinds of fault", len(kinds), demands.fault_kinds_min)
    _at_least(inquiry, "samples of Redis", len(evidence.redis), demands.redis_samples_min)
    healthy_s = sum(evidence.healthy_ns(evidence.started_ns, evidence.ended_ns)) // 10**9
    _at_least(inquiry, "seconds without a fault", healthy_s, demands.healthy_min_s)
    for fault in evidence.faults:
        if not fault.fired:
            inquiry.doubt(f"fault {fault.number} ({fault.kind} on {fault.target}) never took hold")
    for fault in _without_work(evidence):
        inquiry.doubt(
            f"fault {fault.number} ({fault.kind} on {fault.target}) met no operation in flight"
        )
    return inquiry.conclude(
        f"{accepted} accepted, {unknown} attempts unknown, {len(evidence.listens)} listeners "
        f"with {opens} connections, {len(fired)} faults of {len(kinds)} kinds"
    )


def _at_least(inquiry: Inquiry, what: str, seen: int, least: int) -> None:
    if seen < least:
        inquiry.doubt(f"{seen} {what}, {least} demanded")


def _without_work(evidence: Evidence) -> list[FaultSpan]:
    """Faults during which no submission was on its way."""
    if not evidence.faults:
        return []
    spans = sorted(
        (a.invoked_ns, a.done_ns if a.done_ns is not None else evidence.ended_ns)
        for s in evidence.submissions
        for a in s.attempts
    )
    idle = []
    position = 0
    newest_end = 0
    for fault in evidence.faults:
        heal_ns = fault.heal_ns if fault.heal_ns is not None else evidence.ended_ns
        while position < len(spans) and spans[position][0] <= heal_ns:
            newest_end = max(newest_end, spans[position][1])
            position += 1
        if newest_end < fault.inject_ns:
            idle.append(fault)
    return idle
