"""Adds the users of a run where the stack under test is our own. Not for servers of others."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.net.target import Target, TargetError


def seed_users(target: Target, players: int, folder: Path) -> None:
    """Make sure that users 1..players exist; without the stack's database, do nothing.

    Raises TargetError with the words of the program that adds them.
    """
    if not target.mysql_url or not target.state:
        return
    done = subprocess.run(
        [sys.executable, "-m", "worker", "seed", "--users", str(players)],
        cwd=folder,
        env={**os.environ, **_addresses(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TargetError(f"seeding users failed:\n{done.stderr.strip()[-2000:]}")


def _addresses(target: Target) -> Mapping[str, str]:
    """The environment in which one of the project's own programs finds this stack."""
    urls = target.state.get("urls", {})
    return {
        "SCOREBOARD_MYSQL_URL": target.mysql_url,
        "SCOREBOARD_REDIS_URL": urls.get("redis", ""),
        "SCOREBOARD_TEMPORAL_ADDRESS": urls.get("temporal", ""),
    }
