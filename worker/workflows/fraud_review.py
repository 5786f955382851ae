"""The workflow of one held submission: waits for a person, then ends the case.

Not which submissions are held: `scoreboard.fraud`; nor what ending means: `cases`.
"""

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow

from scoreboard import contract
from scoreboard.domain import Decision
from worker.workflows.steps import NOTIFY, PUBLISH, RESOLVE, run_step

TIME_LIMIT_S = 7 * 86400.0
"""A case that nobody decides in this time expires, unless the settings say another: the
submission is not applied."""


@dataclass(frozen=True, kw_only=True)
class CaseState:
    """What the query `state` answers. `decision` is empty while the case is open."""

    submission_id: str
    decision: str = ""
    decided_by: str = ""
    outcome: str = ""


@dataclass(frozen=True, kw_only=True)
class CaseDecision:
    """Argument of the update `decide`: `approved` or `rejected`, and who says so."""

    decision: str
    decided_by: str


@dataclass(frozen=True, kw_only=True)
class CaseResolved:
    """Result of the resolve step: the ledger's outcome and its seq, 0 if not applied.

    Decision and name are the audit trail's, which may be an earlier one's: when a worker
    died after it had stored a decision, Temporal may hear of another one first.
    """

    outcome: str
    seq: int
    decision: str = ""
    decided_by: str = ""


@workflow.defn(name=contract.REVIEW_WORKFLOW)
class FraudReview:
    """One case; its id is that of the submission, so there is never a second one."""

    @workflow.init
    def __init__(self, submission_id: str, limit_s: float = TIME_LIMIT_S) -> None:  # noqa: ARG002
        self._state = CaseState(submission_id=submission_id)

    @workflow.run
    async def run(self, submission_id: str, limit_s: float = TIME_LIMIT_S) -> str:
        """Returns the submission's final outcome."""
        try:
            await workflow.wait_condition(
                lambda: bool(self._state.decision), timeout=timedelta(seconds=limit_s)
            )
        except TimeoutError:
            self._state = CaseState(
                submission_id=submission_id,
                decision=Decision.EXPIRED.value,
                decided_by="time limit",
            )
        resolved: CaseResolved = await run_step(
            RESOLVE,
            submission_id,
            self._state.decision,
            self._state.decided_by,
            result_type=CaseResolved,
        )
        await run_step(PUBLISH, resolved.seq)
        await run_step(NOTIFY, resolved.seq, "")
        self._state = CaseState(
            submission_id=submission_id,
            decision=resolved.decision or self._state.decision,
            decided_by=resolved.decided_by or self._state.decided_by,
            outcome=resolved.outcome,
        )
        await workflow.wait_condition(workflow.all_handlers_finished)
        return resolved.outcome

    @workflow.query
    def state(self) -> CaseState:
        """Where the case stands."""
        return self._state

    @workflow.update
    async def decide(self, decision: CaseDecision) -> CaseState:
        """Decide the case; returns when the outcome is in the ledger and published.

        The state that it returns names the decision that stands.
        """
        self._state = CaseState(
            submission_id=self._state.submission_id,
            decision=decision.decision,
            decided_by=decision.decided_by,
        )
        await workflow.wait_condition(lambda: bool(self._state.outcome))
        return self._state

    @decide.validator
    def _may_decide(self, decision: CaseDecision) -> None:
        if decision.decision not in {Decision.APPROVED, Decision.REJECTED}:
            raise ValueError("a decision is approved or rejected")
        if self._state.decision:
            raise ValueError("the case is decided")
