"""A running copy of compose.yaml."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.reserved_ports import reserved_port

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A running compose project."""

    base_url: str
    secret: bytes
    command: list[str]
    environment: dict[str, str]

    def run(self, *arguments: str) -> str:
        """Runs a compose command; its output. Fails the test with what it printed."""
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def compose_command() -> list[str]:
    """Docker's plugin where there is one, else the older program that Debian packages."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    old = shutil.which("docker-compose")
    assert old is not None, "neither docker compose nor docker-compose is installed"
    return [old]


@pytest.fixture(scope="session")
def composed() -> Iterator[Composed]:
    """compose.yaml, built and started under a name of its own; gone afterwards with its data."""
    secret = secrets.token_urlsafe(32)
    port = reserved_port()
    project = Composed(
        base_url=f"http://127.0.0.1:{port}",
        secret=secret.encode(),
        command=[*compose_command(), "--project-name", f"scoreboard-{secrets.token_hex(4)}"],
        environment={
            **os.environ,
            "SCOREBOARD_JWT_SECRET": secret,
            "SCOREBOARD_MYSQL_PASSWORD": secrets.token_hex(12),
            "SCOREBOARD_PORT": str(port),
            "SCOREBOARD_TEMPORAL_UI_PORT": str(reserved_port()),
        },
    )
    try:
        project.run("build", "server")
        project.run("up", "--detach")
        yield project
    finally:
        project.run("down", "--volumes", "--timeout", "15")
