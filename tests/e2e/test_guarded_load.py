"""A load run gets its good verdict from a server that lets in only what is signed and known."""

import asyncio
import base64
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scoreboard.contract import PLAYERS_PATH
from scoreboard.tokens import SCOPE_PLAYERS, mint
from server.settings import ServerSettings
from tests.support.api import SECRET, Api, running_api

ROOT = Path(__file__).parents[2]
PLAYERS = 40
LISTENERS = 80
SHARED = b"canary-of-a-key-shared-by-two..."
ED_KEY = Ed25519PrivateKey.generate()
PEM = ED_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_entry(key_id: str, algorithm: str, key: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(key).decode()
    return {"id": key_id, "algorithm": algorithm, "key": encoded, "subjects": ["*"]}


@pytest_asyncio.fixture
async def api(settings: ServerSettings, tmp_path: Path) -> AsyncIterator[Api]:
    keys = [
        key_entry("game", "hmac-sha256", SHARED),
        key_entry("phone", "ed25519", ED_KEY.public_key().public_bytes_raw()),
    ]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": keys}))
    (tmp_path / "game.key").write_bytes(base64.b64encode(SHARED))
    (tmp_path / "phone.pem").write_bytes(PEM)
    settings = replace(
        settings,
        signature_keys=str(tmp_path / "keys.json"),
        signatures_required=True,
        stream_auth_required=True,
        streams_per_user=LISTENERS // PLAYERS,
    )
    async with running_api(settings, embedded_worker=True, users=PLAYERS) as running:
        await share_a_name(running)
        yield running


async def share_a_name(api: Api) -> None:
    """Two players called Alice, as people are, whom every run must tell apart."""
    operator = mint(
        SECRET, subject="olga", now_s=int(time.time()), ttl_s=60, scopes=(SCOPE_PLAYERS,)
    )
    async with api.http.post(
        api.url + PLAYERS_PATH,
        json={"action": "rename", "userId": 7, "name": "Alice", "reason": "a test"},
        headers={"Authorization": f"Bearer {operator}"},
    ) as response:
        assert response.status == 200, await response.text()


async def load(
    api: Api, mysql_url: str, results: Path, *arguments: str
) -> tuple[int | None, str, list[str]]:
    """Exit status and output of a short run, and the command line of each of its processes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "harness", "load", "--host", api.url, "--results", str(results)),
        *("--mysql-url", mysql_url, "--no-ceiling", "--late-limit", "2000"),
        *("--rate", "40", "--duration", "3", "--warmup", "1", "--listeners", str(LISTENERS)),
        *("--players", str(PLAYERS), *arguments),
        cwd=ROOT,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")},
            "SCOREBOARD_JWT_SECRET": SECRET.decode(),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = asyncio.create_task(process.communicate())
    seen: dict[int, str] = {}
    while not output.done():
        # Any of them may end between two looks.
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                seen[child.pid] = " ".join(child.cmdline())
        await asyncio.wait([output], timeout=0.2)
    said, _ = await output
    return process.returncode, said.decode(), sorted(seen.values())


@pytest.mark.parametrize("key", ["game:game.key", "phone:phone.pem"])
async def test_load_signs_with_keys_it_writes_nowhere(
    api: Api, mysql_url: str, tmp_path: Path, key: str
) -> None:
    key_id, _, name = key.partition(":")
    results = tmp_path / "results"

    code, said, commands = await load(
        api, mysql_url, results, "--signing-key", f"{key_id}:{tmp_path / name}", "--stream-auth"
    )

    assert code == 0, said
    [path] = results.glob("*.json")
    document = json.loads(path.read_text())
    assert document["verdict"]["good"]
    assert document["totals"]["ok"] == 160
    assert document["totals"]["deliveries"] == 160 * LISTENERS
    assert document["settings"]["signing_key"] == key_id
    assert len(commands) >= 2, "a submitter and a listener"
    kept = b"".join(file.read_bytes() for file in results.glob("**/*") if file.is_file())
    for secret in (SECRET, SHARED, base64.b64encode(SHARED), *PEM.split(b"\n")[1:-2]):
        assert secret not in kept
        assert secret.decode() not in said + "".join(commands)


async def test_without_a_key_every_submission_is_refused(
    api: Api, mysql_url: str, tmp_path: Path
) -> None:
    code, said, _ = await load(api, mysql_url, tmp_path / "results", "--stream-auth")

    assert code == 3, said
    assert "were refused with 401, so the run ended" in said
    assert "--signing-key" in said
    [path] = (tmp_path / "results").glob("*.json")
    document = json.loads(path.read_text())
    assert document["totals"]["status_401"] == document["totals"]["intended"] > 0
