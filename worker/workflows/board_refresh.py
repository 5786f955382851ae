"""The scheduled refresh of the rankings: rebuilt from MySQL, drift found and reported.

Traffic goes on meanwhile: readers see the old ranking until the new one is
swapped in whole, never behind what they have seen.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from temporalio import workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from scoreboard import backoff
from scoreboard.contract import REFRESH_WORKFLOW
from worker.workflows.steps import REFRESH, retry_policy

TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class RefreshReport:
    """What a refresh found: users whose ranking differed from MySQL, and the new seq.

    `wrong` have another score in Redis, `missing` none, `surplus` are not in MySQL.
    """

    seq: int
    users: int
    wrong: int
    missing: int
    surplus: int


@workflow.defn(name=REFRESH_WORKFLOW)
class BoardRefresh:
    """One refresh."""

    @workflow.run
    async def run(self) -> RefreshReport:
        """Returns what was found; repeated until it succeeds or the next one is due."""
        report: RefreshReport = await workflow.execute_activity(
            REFRESH,
            result_type=RefreshReport,
            start_to_close_timeout=TIMEOUT,
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=retry_policy(backoff.REFRESH_STEP),
        )
        return report


async def ensure_schedule(client: Client, *, task_queue: str, every_s: float) -> None:
    """Create the task queue's schedule, or bring it to these settings; safe from every worker."""
    schedule_id = f"refresh-{task_queue}"
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            REFRESH_WORKFLOW, id=f"{schedule_id}-run", task_queue=task_queue
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=every_s))]),
        # A refresh that was missed is of no use later: the next one does all its work.
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(seconds=60)
        ),
    )
    try:
        await client.create_schedule(schedule_id, schedule)
    except ScheduleAlreadyRunningError:

        def updated(current: ScheduleUpdateInput) -> ScheduleUpdate | None:
            present = current.description.schedule
            if (
                present.spec.intervals == schedule.spec.intervals
                and present.policy == schedule.policy
                and _action(present) == _action(schedule)
            ):
                return None
            # Its state stays: an operator may have paused it.
            return ScheduleUpdate(schedule=replace(schedule, state=present.state))

        await client.get_schedule_handle(schedule_id).update(updated)


def _action(schedule: Schedule) -> tuple[str, str, str]:
    action = schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    return action.workflow, action.id, action.task_queue
