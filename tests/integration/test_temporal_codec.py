"""An operator's payload codec: the pipeline and reviews work, and Temporal keeps no plain text."""

from dataclasses import replace

import pytest
from temporalio.client import Client

from adapters.temporal import connect_arguments
from scoreboard.settings import SettingsError
from server.app import create_app
from server.settings import ServerSettings
from tests.support.api import running_api, wait_until_ready
from tests.support.eventually import eventually

CODEC = "tests.support.codec:Encrypted"


@pytest.fixture
def settings(settings: ServerSettings) -> ServerSettings:
    return replace(settings, temporal_codec=CODEC)


async def test_submissions_pass_through_temporal_encrypted(
    settings: ServerSettings, temporal_client: Client
) -> None:
    async with running_api(settings, embedded_worker=True) as api:
        await wait_until_ready(api)
        status, body = await api.submit(1, 10, key="known")
        assert status == 202

        async def applied() -> bool:
            return bool((await api.scores())[0]["score"] == 1510)

        await eventually(applied)
        batches = [
            each.id
            async for each in temporal_client.list_workflows(
                f"TaskQueue = '{settings.task_queue}' AND WorkflowType = 'SubmissionLane'"
            )
        ]
        history = ""
        for batch in batches:
            history += str(await temporal_client.get_workflow_handle(batch).fetch_history())

    assert "binary/encrypted" in history
    assert str(body["submissionId"]) not in history


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        ("tests.support.nowhere:Codec", "No module named"),
        ("tests.support.codec:Missing", "has no attribute"),
        ("tests.support.codec:NOT_A_CODEC", "codec:NOT_A_CODEC"),
    ],
)
async def test_a_codec_that_is_none_is_a_settings_error(
    settings: ServerSettings, codec: str, reason: str
) -> None:
    wrong = replace(settings, temporal_codec=codec)

    with pytest.raises(SettingsError, match=f"SCOREBOARD_TEMPORAL_CODEC.*{reason}"):
        connect_arguments(wrong)
    with pytest.raises(SettingsError, match="SCOREBOARD_TEMPORAL_CODEC"):
        create_app(wrong)
