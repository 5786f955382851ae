"""The workflow that takes the batches of one API process as signals and carries those that wait
together, from accepted to shown.

A signal is durable when its call returns, and no workflow begins or ends for it: half the latency
and a third of the cost of a workflow for each batch. A lane makes one attempt. Every batch that it
cannot end at once goes on as a workflow of its own (`submission_batch`), so none waits for another
one's trouble.
"""

import asyncio

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from scoreboard import contract
from scoreboard.contract import CarriedBatch
from worker.workflows.steps import CARRY_TOGETHER, start_apart, try_step
from worker.workflows.submission_batch import SubmissionBatch

IDLE_S = 60.0
"""A lane without a new batch for so long ends; a later batch starts it again."""

LISTED_S = 2.0
"""Temporal's list shows a workflow this long after its start at the latest."""

TOGETHER_BYTES = 32 * 1024
"""Of batches that are carried together: about a thousand submissions. A replay must find the same
calls, so another value needs `workflow.patched`."""


@workflow.defn(name=contract.LANE_WORKFLOW)
class SubmissionLane:
    """Carries batches in the order in which they came."""

    @workflow.init
    def __init__(self) -> None:
        self._waiting: dict[str, Payload] = {}
        self._carrying: dict[str, Payload] = {}
        self._handed_over = False
        self._taken = 0
        self._last = False

    @workflow.run
    async def run(self) -> None:
        """Returns when the last batch, or none for some time, has come and all have ended or go on
        by themselves."""
        idle = asyncio.create_task(self._end_when_idle())
        while not self._last or self._waiting:
            await workflow.wait_condition(lambda: bool(self._waiting) or self._last)
            while self._waiting:
                await self._carry()
            if self._last and self._handed_over:
                # Whoever asks for batches finds one here until Temporal's list has it.
                self._handed_over = False
                await workflow.sleep(LISTED_S)
        idle.cancel()

    @workflow.signal(name=contract.LANE_TAKE)
    def take(self, batch: RawValue, batch_id: str, last: bool) -> None:
        """Take a batch, `contract.encode_batch`; `last` when no other one will come.

        Raw, since a value that does not convert would be dropped without a word.
        """
        self._waiting[batch_id] = batch.payload
        self._taken += 1
        self._last |= last

    @workflow.query(name=contract.LANE_UNFINISHED)
    def unfinished(self) -> list[str]:
        """The ids of the batches that have been taken and not ended."""
        return [*self._carrying, *self._waiting]

    async def _carry(self) -> None:
        self._carrying = self._next_together()
        batches = [
            CarriedBatch(
                batch_id, batch.data, batch.metadata.get(contract.TRACEPARENT, b"").decode()
            )
            for batch_id, batch in self._carrying.items()
        ]
        ended = await try_step(
            CARRY_TOGETHER, contract.encode_batches(batches), result_type=list[str]
        )
        for batch_id in ended or ():
            self._carrying.pop(batch_id, None)
        for batch_id in list(self._carrying):
            self._handed_over = True
            await start_apart(
                SubmissionBatch.run,
                RawValue(self._carrying[batch_id]),
                workflow_id=contract.batch_workflow_id(batch_id),
                task_timeout=workflow.info().task_timeout,
            )
            del self._carrying[batch_id]

    def _next_together(self) -> dict[str, Payload]:
        """The first that wait; a large batch alone."""
        chosen: dict[str, Payload] = {}
        size = 0
        for batch_id, batch in self._waiting.items():
            size += len(batch.data)
            if chosen and size > TOGETHER_BYTES:
                break
            chosen[batch_id] = batch
        for batch_id in chosen:
            del self._waiting[batch_id]
        return chosen

    async def _end_when_idle(self) -> None:
        while not self._last:
            taken = self._taken
            await workflow.sleep(IDLE_S)
            self._last |= self._taken == taken
