"""What a checker may say, and how it says it: true, false or unknown, with reasons.

Unknown is not a soft true: a run that saw too little has proven nothing, and fails. What a
server does not show is not asked of it: that counts neither for nor against it.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field

import msgspec

EXPLANATIONS_MAX = 5
"""Violations told in full for one invariant; the rest are counted."""


class Verdict(enum.StrEnum):
    """The answer for one invariant, or for a whole run."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"
    NOT_ASKED = "not asked"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one invariant: what was looked at, and each violation in a few lines.

    `counts` are the figures behind it, for programs.
    """

    invariant: str
    title: str = ""
    verdict: Verdict
    looked_at: str = ""
    explanations: tuple[str, ...] = ()
    violations: int = 0
    counts: dict[str, int] = {}


@dataclass
class Inquiry:
    """Collects what speaks against one invariant, then concludes.

    What the evidence itself lacks (`flaws`) is a doubt about every invariant.
    """

    invariant: str
    title: str
    flaws: InitVar[Iterable[str]]
    _violations: list[str] = field(default_factory=list)
    _count: int = 0
    _doubts: list[str] = field(default_factory=list)

    def __post_init__(self, flaws: Iterable[str]) -> None:
        for flaw in flaws:
            self.doubt(flaw)

    def violation(self, explanation: str) -> None:
        """The invariant does not hold; say which submission, which rows, which events."""
        self._count += 1
        if len(self._violations) < EXPLANATIONS_MAX:
            self._violations.append(explanation)

    def doubt(self, reason: str) -> None:
        """Something needed to acquit was not seen."""
        if reason not in self._doubts:
            self._doubts.append(reason)

    def conclude(self, looked_at: str, counts: Mapping[str, int] | None = None) -> Finding:
        """False when anything violates, else unknown when anything is in doubt, else true."""
        if self._count:
            verdict, reasons = Verdict.FALSE, tuple(self._violations)
        elif self._doubts:
            verdict, reasons = Verdict.UNKNOWN, tuple(self._doubts[:EXPLANATIONS_MAX])
        else:
            verdict, reasons = Verdict.TRUE, ()
        return Finding(
            invariant=self.invariant,
            title=self.title,
            verdict=verdict,
            looked_at=looked_at,
            explanations=reasons,
            violations=self._count,
            counts=dict(counts or {}),
        )


def not_asked(invariant: str, needs: str) -> Finding:
    """The finding on what this server does not show: what asking it would need."""
    return Finding(
        invariant=invariant, verdict=Verdict.NOT_ASKED, looked_at="nothing", explanations=(needs,)
    )


def overall(findings: Iterable[Finding]) -> Verdict:
    """One violation convicts; without one, a single doubt is enough not to acquit."""
    verdicts = {finding.verdict for finding in findings} - {Verdict.NOT_ASKED}
    if Verdict.FALSE in verdicts:
        return Verdict.FALSE
    if Verdict.UNKNOWN in verdicts or not verdicts:
        return Verdict.UNKNOWN
    return Verdict.TRUE
