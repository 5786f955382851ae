"""compose.yaml, really running: one submission from the HTTP call to the board."""

import http.client
import json
import time
import urllib.request
from typing import Any

import pytest

from scoreboard.tokens import mint
from tests.containers.conftest import Composed
from tests.support.eventually import eventually_sync

pytestmark = pytest.mark.containers


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except (OSError, http.client.HTTPException, ValueError):
        return 0, None


def test_a_submission_to_the_composed_stack_reaches_its_board(composed: Composed) -> None:
    scores = f"{composed.base_url}/scores"
    eventually_sync(lambda: get(f"{composed.base_url}/readyz")[0] == 200, timeout_s=90)
    eventually_sync(
        lambda: (
            get(scores)[1]
            == [
                {"user": "Alice", "score": 1500, "userId": 1},
                {"user": "Bob", "score": 1400, "userId": 2},
            ]
        )
    )
    token = mint(composed.secret, subject="1", now_s=int(time.time()), ttl_s=60)
    request = urllib.request.Request(
        f"{scores}/update",
        data=b'{"userId":1,"increment":10}',
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )

    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202

    eventually_sync(
        lambda: {"user": "Alice", "score": 1510, "userId": 1} in get(scores)[1], timeout_s=20
    )


def test_the_composed_processes_run_without_root(composed: Composed) -> None:
    for service in ("server", "worker"):
        assert composed.run("exec", "-T", service, "id", "-u").strip() == "10001"
