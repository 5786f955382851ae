"""Workflows under way survive a deployment: today's code replays every recorded history."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from tests.workflow.record import FOLDER, PATHS
from worker.workflows.board_refresh import BoardRefresh
from worker.workflows.fraud_review import FraudReview
from worker.workflows.player_change import PlayerChange
from worker.workflows.submission_batch import SubmissionBatch
from worker.workflows.submission_lane import SubmissionLane

WORKFLOWS = [SubmissionLane, SubmissionBatch, FraudReview, BoardRefresh, PlayerChange]
RUNNERS: dict[str, Callable[[], WorkflowRunner]] = {
    "unsandboxed": UnsandboxedWorkflowRunner,
    "sandboxed": SandboxedWorkflowRunner,
}
HISTORIES = sorted(FOLDER.glob("*.json"))


def history_of(file: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(file.stem, file.read_text("utf-8"))


def event_types(file: Path) -> list[str]:
    return [
        event["eventType"].removeprefix("EVENT_TYPE_")
        for event in json.loads(file.read_text("utf-8"))["events"]
    ]


def test_every_path_has_a_history() -> None:
    """Old histories may have other names: they stay for as long as their workflows may run."""
    assert PATHS.keys() <= {file.stem for file in HISTORIES}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
async def test_recorded_histories_replay(file: Path, runner: str) -> None:
    kind = RUNNERS[runner]

    await Replayer(workflows=WORKFLOWS, workflow_runner=kind()).replay_workflow(history_of(file))


async def test_a_history_of_other_steps_does_not_replay() -> None:
    """Else the replays above would prove nothing."""
    history = json.loads((FOLDER / "batch_applied.json").read_text("utf-8"))
    text = json.dumps(history).replace("SubmissionBatch", "BoardRefresh")

    with pytest.raises(Exception, match=r"[Nn]ondeterminism"):
        await Replayer(workflows=WORKFLOWS).replay_workflow(WorkflowHistory.from_json("x", text))


@pytest.mark.parametrize(("path", "markers"), [("batch_together", 1), ("batch_applied", 4)])
def test_an_ordinary_batch_costs_two_writes(path: str, markers: int) -> None:
    """Local activities in one workflow task: what makes group commit cheap."""
    types = event_types(FOLDER / f"{path}.json")

    assert types.count("WORKFLOW_TASK_COMPLETED") == 1
    assert types.count("MARKER_RECORDED") == markers
    assert "ACTIVITY_TASK_SCHEDULED" not in types
    assert types[-1] == "WORKFLOW_EXECUTION_COMPLETED"


def test_a_batch_costs_a_running_lane_five_events() -> None:
    """No workflow begins or ends for it: what makes a batch cheap."""
    types = event_types(FOLDER / "lane_batches.json")

    second, third = [n for n, kind in enumerate(types) if kind == "WORKFLOW_EXECUTION_SIGNALED"][1:]
    assert types[second:third] == [
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_TASK_STARTED",
        "WORKFLOW_TASK_COMPLETED",
        "MARKER_RECORDED",
    ]


def test_batches_that_wait_share_a_call() -> None:
    types = event_types(FOLDER / "lane_together.json")

    assert types.count("WORKFLOW_EXECUTION_SIGNALED") == 3
    assert types.count("MARKER_RECORDED") == 1


@pytest.mark.parametrize("path", ["lane_patient", "lane_malformed", "lane_held"])
def test_what_a_lane_cannot_end_went_on_as_a_workflow_of_its_own(path: str) -> None:
    types = event_types(FOLDER / f"{path}.json")

    assert types.count("CHILD_WORKFLOW_EXECUTION_STARTED") == 1
    assert types[-1] == "WORKFLOW_EXECUTION_COMPLETED"


@pytest.mark.parametrize("how", ["", "together_"])
@pytest.mark.parametrize("step", ["record", "publish", "notify"])
def test_a_patient_path_went_on_as_an_ordinary_activity(step: str, how: str) -> None:
    types = event_types(FOLDER / f"batch_{how}{step}_patient.json")

    assert types.count("ACTIVITY_TASK_COMPLETED") == 1
    assert types[-1] == "WORKFLOW_EXECUTION_COMPLETED"


def test_the_expired_case_ended_by_its_timer_alone() -> None:
    types = event_types(FOLDER / "review_expired.json")

    assert types.count("TIMER_FIRED") == 1
    assert "WORKFLOW_EXECUTION_UPDATE_ACCEPTED" not in types
    assert types[-1] == "WORKFLOW_EXECUTION_COMPLETED"


def test_only_malformed_batches_failed() -> None:
    failed = {
        file.stem for file in HISTORIES if event_types(file)[-1] == "WORKFLOW_EXECUTION_FAILED"
    }

    assert failed == {"batch_malformed", "batch_together_malformed"}
