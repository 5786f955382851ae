"""Records one history for each path through the workflows, from a real Temporal server.

`python -m tests.workflow.record` writes them anew. Do that only for a path that is new: an old
history that no longer replays means that workflows under way would break at the next deployment.
"""

import asyncio
import itertools
import json
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory

from scoreboard import contract, ids
from scoreboard.players.orders import Order, RenamePlayer, encode_order
from server.backends.temporal import batch_payload
from tests.support.eventually import eventually
from tests.support.pipeline import Pipeline, running_pipeline, submission
from tests.support.services import empty_redis_database, fresh_database, open_services
from worker.workflows.fraud_review import CaseDecision, FraudReview
from worker.workflows.player_change import PlayerChange

FOLDER = Path(__file__).parent / "histories"
Handle = WorkflowHandle[Any, Any]

LARGE = 5_000
"""An increment that is held for review here."""

SPENDS_LOCAL_ATTEMPTS = 3

_numbers = itertools.count(1)


async def _carry(
    pipeline: Pipeline, name: str, payload: bytes, *, together: bool = False
) -> Handle:
    handle = await pipeline.client.start_workflow(
        contract.BATCH_WORKFLOW,
        batch_payload(payload) if together else payload,
        id=contract.batch_workflow_id(f"{name}-{pipeline.settings.task_queue}"),
        task_queue=pipeline.settings.task_queue,
    )
    try:
        await handle.result()
    except WorkflowFailureError:
        # The history of a failed workflow is one of the paths.
        assert name.endswith("_malformed")
    return handle


def _batch(*pairs: tuple[int, int]) -> bytes:
    return contract.encode_batch([submission(user_id, points) for user_id, points in pairs])


async def batch_applied(pipeline: Pipeline) -> Handle:
    return await _carry(pipeline, "batch_applied", _batch((1, 10), (2, 5)))


async def batch_together(pipeline: Pipeline) -> Handle:
    return await _carry(pipeline, "batch_together", _batch((1, 10), (2, 5)), together=True)


async def batch_together_malformed(pipeline: Pipeline) -> Handle:
    return await _carry(pipeline, "batch_together_malformed", b"no batch", together=True)


async def batch_together_held(pipeline: Pipeline) -> Handle:
    held = _batch((1, LARGE), (2, 1))
    return await _carry(pipeline, "batch_together_held", held, together=True)


async def batch_rejected(pipeline: Pipeline) -> Handle:
    return await _carry(pipeline, "batch_rejected", _batch((99, 10), (1, 0)))


async def batch_malformed(pipeline: Pipeline) -> Handle:
    return await _carry(pipeline, "batch_malformed", b"no batch")


async def batch_held(pipeline: Pipeline) -> Handle:
    return await _carry(pipeline, "batch_held", _batch((1, LARGE), (2, 1)))


def _patient(point: str, *, together: bool = False) -> Callable[[Pipeline], Awaitable[Handle]]:
    """A batch whose step fails so often that it goes on as an ordinary activity."""

    async def path(pipeline: Pipeline) -> Handle:
        failures = SPENDS_LOCAL_ATTEMPTS + together
        Path(pipeline.settings.failpoints).write_text(f"{point} {failures} raise\n")
        name = f"batch_patient_{point}_{together}"
        return await _carry(pipeline, name, _batch((1, 1)), together=together)

    return path


def _lane(
    *batches: bytes, failpoint: str = "", together: bool = False
) -> Callable[[Pipeline], Awaitable[Handle]]:
    """A lane that takes these batches one by one, or all before a worker looks at the first."""

    async def path(pipeline: Pipeline) -> Handle:
        if failpoint:
            Path(pipeline.settings.failpoints).write_text(f"{failpoint}\n")
        name = contract.lane_workflow_id(pipeline.settings.task_queue, next(_numbers))
        handle = pipeline.client.get_workflow_handle(name)

        async def take(number: int) -> None:
            await pipeline.client.start_workflow(
                contract.LANE_WORKFLOW,
                id=name,
                task_queue=pipeline.settings.task_queue,
                start_signal=contract.LANE_TAKE,
                start_signal_args=[
                    batch_payload(batches[number]),
                    f"{name}-{number}",
                    number == len(batches) - 1,
                ],
            )

        if together:
            await asyncio.gather(*(take(number) for number in range(len(batches))))
        else:
            for number in range(len(batches)):
                await take(number)
                if number < len(batches) - 1:
                    await eventually(lambda: _has_ended(handle))
        await handle.result()
        return handle

    return path


async def _has_ended(lane: Handle) -> bool:
    return not await lane.query(contract.LANE_UNFINISHED)


def _review(decision: str) -> Callable[[Pipeline], Awaitable[Handle]]:
    async def path(pipeline: Pipeline) -> Handle:
        held = submission(1, LARGE)
        await _carry(pipeline, f"held_for_{decision}", contract.encode_batch([held]))
        handle = pipeline.client.get_workflow_handle_for(
            FraudReview.run, contract.review_workflow_id(ids.text(held.id))
        )
        await handle.execute_update(
            FraudReview.decide, CaseDecision(decision=decision, decided_by="reviewer")
        )
        await handle.result()
        return handle

    return path


async def review_expired(pipeline: Pipeline) -> Handle:
    held = submission(1, LARGE)
    await pipeline.hold(held)
    handle = await pipeline.client.start_workflow(
        FraudReview.run,
        args=[ids.text(held.id), 0.1],
        id=contract.review_workflow_id(ids.text(held.id)),
        task_queue=pipeline.settings.task_queue,
    )
    await handle.result()
    return handle


async def board_refresh(pipeline: Pipeline) -> Handle:
    handle = await pipeline.client.start_workflow(
        contract.REFRESH_WORKFLOW,
        id=f"refresh-{pipeline.settings.task_queue}-now",
        task_queue=pipeline.settings.task_queue,
    )
    await handle.result()
    return handle


async def player_change(pipeline: Pipeline) -> Handle:
    action = RenamePlayer(user_id=2, name="Robert", reason="asked by mail")
    order = Order(id=bytes(15) + b"1", actor="operator", action=action)
    handle = await pipeline.client.start_workflow(
        PlayerChange.run,
        encode_order(order),
        id=contract.player_workflow_id(ids.text(order.id)),
        task_queue=pipeline.settings.task_queue,
    )
    await handle.result()
    return handle


PATHS: dict[str, Callable[[Pipeline], Awaitable[Handle]]] = {
    "batch_applied": batch_applied,
    "batch_rejected": batch_rejected,
    "batch_malformed": batch_malformed,
    "batch_held": batch_held,
    "batch_record_patient": _patient("record.before_commit"),
    "batch_publish_patient": _patient("publish.before"),
    "batch_notify_patient": _patient("notify.before"),
    "batch_together": batch_together,
    "batch_together_malformed": batch_together_malformed,
    "batch_together_held": batch_together_held,
    "batch_together_record_patient": _patient("record.before_commit", together=True),
    "batch_together_publish_patient": _patient("publish.before", together=True),
    "batch_together_notify_patient": _patient("notify.before", together=True),
    "lane_batches": _lane(_batch((1, 1)), _batch((2, 1)), _batch((1, 1), (2, 1))),
    "lane_together": _lane(_batch((1, 1)), _batch((2, 1)), _batch((1, 2)), together=True),
    "lane_patient": _lane(_batch((1, 1)), failpoint="record.before_commit 1 raise"),
    "lane_malformed": _lane(b"no batch"),
    "lane_held": _lane(_batch((1, 1)), _batch((1, LARGE), (2, 1))),
    "review_approved": _review("approved"),
    "review_rejected": _review("rejected"),
    "review_expired": review_expired,
    "board_refresh": board_refresh,
    "player_change": player_change,
}


async def record(pipeline: Pipeline, name: str) -> WorkflowHistory:
    """Walk one path; its history. The pipeline must hold LARGE gains and name a failpoint file."""
    handle = await PATHS[name](pipeline)

    async def closed() -> WorkflowHistory | None:
        history = await handle.fetch_history()
        last = history.events[-1]
        ended = last.HasField("workflow_execution_completed_event_attributes")
        failed = last.HasField("workflow_execution_failed_event_attributes")
        return history if ended or failed else None

    return await eventually(closed)


def without_machine(history: str) -> str:
    """The history's JSON without names of the machine, folders and process that recorded it."""
    history = re.sub(r'"identity": "[^"]*"', '"identity": "worker"', history)
    return re.sub(r'"stackTrace": "(?:[^"\\]|\\.)*"', '"stackTrace": ""', history)


async def main() -> None:
    """Record every path that has no file yet, or those named as arguments."""
    wanted = sys.argv[1:] or [name for name in PATHS if not (FOLDER / f"{name}.json").exists()]
    folder = Path(tempfile.mkdtemp())
    # Starting services runs a loop of its own.
    opened = open_services("auto", folder)
    services = await asyncio.to_thread(opened.__enter__)
    try:
        client = await Client.connect(services.temporal_address)
        with fresh_database(services.mysql_url) as mysql_url:
            async with running_pipeline(
                client,
                mysql_url=mysql_url,
                redis_url=empty_redis_database(services.redis_url),
                task_queue="recording",
                failpoints=str(folder / "failpoints"),
                fraud_large_increment=LARGE - 1,
            ) as pipeline:
                for name in wanted:
                    history = await record(pipeline, name)
                    text = json.dumps(json.loads(history.to_json()), indent=1)
                    (FOLDER / f"{name}.json").write_text(without_machine(text) + "\n")
                    print(f"{name}: {len(history.events)} events")
    finally:
        await asyncio.to_thread(opened.__exit__, None, None, None)


if __name__ == "__main__":
    asyncio.run(main())
