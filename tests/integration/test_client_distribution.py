"""The client as its user gets it: built as for an index, installed into an empty environment, run.

The build and the installation ask the package index. What the metadata must say is
tests/unit/test_adoption.py.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from scoreboard import __version__
from tests.support.scripted_api import ScriptedApi, hello, scripted_api, standing, stream, updates

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys
from scoreboard_client import ScoreboardClient

async def main(url):
    async with ScoreboardClient(url, token="t") as client:
        accepted = await client.submit(user_id=1, increment=10, idempotency_key="k")
        async for event in client.follow():
            print(accepted.submission_id, event.seq, event.score)
            return

asyncio.run(main(sys.argv[1]))
"""
INSTALLED = """
import importlib.metadata as metadata, json, pathlib, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib"))
print(json.dumps({
    "distributions": {d.name.lower(): d.version for d in metadata.distributions()},
    "modules": sorted(p.name for p in site.iterdir()),
    "metadata": metadata.metadata("scoreboard-client").as_string(),
}))
"""


@dataclass(frozen=True)
class Built:
    """The source archive's names, and the interpreter of an environment with the client alone."""

    names: list[str]
    python: Path


def call(*command: str | Path, cwd: Path) -> str:
    """Its output; the test fails with all it printed when the command does."""
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Source archive, from it a wheel, from that an environment: the way of a release."""
    folder = tmp_path_factory.mktemp("client")
    # A build writes beside its sources, and takes stale files along that lie there.
    shutil.copytree(
        ROOT / "clients/python",
        folder / "source",
        ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"),
    )
    archive = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    call(sys.executable, "-c", archive, folder, cwd=folder / "source")
    [source] = folder.glob("*.tar.gz")
    with tarfile.open(source) as opened:
        names = opened.getnames()
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    call(*pip, "wheel", "--no-deps", "-w", folder, source, cwd=folder)
    [wheel] = folder.glob("*.whl")
    call(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    constraints = ROOT / "constraints.txt"
    call(*pip, "--python", python, "install", "-c", constraints, wheel, cwd=folder)
    return Built(names, python)


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    async with scripted_api() as running:
        yield running


def test_client_distribution_installs_only_its_dependencies(built: Built, tmp_path: Path) -> None:
    installed = json.loads(call(built.python, "-c", INSTALLED, cwd=tmp_path))
    needed = {
        "scoreboard-client",
        "aiohttp",
        "click",
        "msgspec",
        "pyjwt",
        "http-message-signatures",
    }

    assert needed <= installed["distributions"].keys()
    assert installed["distributions"]["scoreboard-client"] == __version__
    # These and what they depend on in turn.
    assert len(installed["distributions"]) <= 20, installed["distributions"]
    ours = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()}
    assert {"server", "worker", "stack", "harness"} <= ours
    assert ours & set(installed["modules"]) == {
        *("scoreboard", "scoreboard_cli", "scoreboard_client")
    }
    assert "License-Expression: Apache-2.0" in installed["metadata"]


def test_the_source_archive_holds_the_licence_and_both_packages(built: Built) -> None:
    inside = {name.partition("/")[2] for name in built.names}

    assert {"LICENSE", "README.md", "scoreboard/sse.py", "scoreboard_client/client.py"} <= inside
    assert {"scoreboard/py.typed", "scoreboard_client/py.typed"} <= inside


async def test_a_program_submits_and_follows_with_the_installed_client(
    built: Built, api: ScriptedApi, tmp_path: Path
) -> None:
    api.streams.append(stream(hello(0), updates(1)))

    printed = await asyncio.to_thread(call, built.python, "-c", PROGRAM, api.url, cwd=tmp_path)

    assert printed.split()[:2] == ["id-of-k", "1"]
    assert api.effects == {"k": {"userId": 1, "increment": 10}}


@pytest.mark.parametrize("way", ["command", "module"])
async def test_the_installed_client_is_a_command(
    built: Built, api: ScriptedApi, tmp_path: Path, way: str
) -> None:
    api.scores = [standing("Alice", 1500)]
    commands: dict[str, list[str | Path]] = {
        "command": [built.python.with_name("scoreboard-client")],
        "module": [built.python, "-m", "scoreboard_client"],
    }

    printed = await asyncio.to_thread(call, *commands[way], "--url", api.url, "top", cwd=tmp_path)

    assert "1,500  Alice" in printed


def test_types_of_the_installed_client_reach_a_checker(built: Built, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from scoreboard_client import ScoreboardClient\n"
        "async def f(client: ScoreboardClient) -> int:\n"
        "    return (await client.top()).scores[0].score\n"
    )

    checked = call(
        *(sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache"),
        *("--python-executable", built.python, "program.py"),
        cwd=tmp_path,
    )

    assert "Success" in checked
