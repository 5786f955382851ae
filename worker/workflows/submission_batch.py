"""The workflow that carries one batch of submissions from accepted to shown.

Not the work itself: see `activities`; nor how a step is repeated: see `steps`.
"""

from dataclasses import dataclass, field

from temporalio import workflow
from temporalio.common import RawValue

from scoreboard import contract
from worker.workflows.fraud_review import TIME_LIMIT_S, FraudReview
from worker.workflows.steps import (
    CARRY,
    NOTIFY,
    PUBLISH,
    RECORD,
    VALIDATE,
    run_step,
    start_apart,
    try_step,
)


@dataclass(frozen=True, kw_only=True)
class BatchRecorded:
    """Result of the record step: the batch's last seq (0: no change), ids held for review, and
    how long their cases may stay open. In the result, since a replay must find the same."""

    last_seq: int
    held: list[str] = field(default_factory=list)
    review_limit_s: float = TIME_LIMIT_S


@dataclass(frozen=True, kw_only=True)
class Carried:
    """How far one call of all steps came: what the finished ones returned, None for the others.

    Stands in the history, so a step that is not finished is known to a replay, too.
    """

    verdicts: list[int] | None = None
    recorded: BatchRecorded | None = None
    published: bool = False
    notified: bool = False


@workflow.defn(name=contract.BATCH_WORKFLOW)
class SubmissionBatch:
    """Validate, record, publish, notify: in this order, each as often as it takes."""

    @workflow.run
    async def run(self, payload: RawValue) -> None:
        """`payload` is `contract.encode_batch`. Fails only for a batch that nobody can read.

        Raw, since a value that does not convert would be tried again for ever.
        """
        batch = payload.payload.data
        batch_id = workflow.info().workflow_id.removeprefix(contract.batch_workflow_id(""))
        carried = Carried()
        if contract.STEPS_TOGETHER in payload.payload.metadata:
            carried = await try_step(CARRY, batch, batch_id, result_type=Carried) or carried
        recorded = carried.recorded
        if recorded is None:
            verdicts = (
                await run_step(VALIDATE, batch, result_type=bytes)
                if carried.verdicts is None
                else bytes(carried.verdicts)
            )
            recorded = await run_step(RECORD, batch, verdicts, result_type=BatchRecorded)
        if not carried.published:
            await run_step(PUBLISH, recorded.last_seq)
        if not carried.notified:
            await run_step(NOTIFY, recorded.last_seq, batch_id)
        for submission_id in recorded.held:
            # The case outlives the batch. The id is the submission's, so a second
            # batch with the same submission finds the case already open.
            await start_apart(
                FraudReview.run,
                submission_id,
                recorded.review_limit_s,
                workflow_id=contract.review_workflow_id(submission_id),
            )
