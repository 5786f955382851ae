"""Prepares a server for a run: adds users where the stack is our own, finds out what it shows."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.capabilities import Capabilities, describe
from harness.measure.schedule import parse_profile
from harness.measure.settings import signing_key as make_signing_key
from harness.measure.slo import load_slo, unmeasurable
from harness.net.preflight import preflight
from harness.net.target import Target, TargetError
from harness.traffic.credentials import Credentials

LOOK_EVERY_S = 0.05


def seed_users(
    target: Target, players: int, folder: Path, *, stopped: Callable[[], bool] = lambda: False
) -> None:
    """Make sure that users 1..players exist; without the stack's database, do nothing.

    Raises TargetError with the words of the program that adds them, and once `stopped` holds.
    """
    if not target.mysql_url or not target.state:
        return
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "seed", "--users", str(players)],
            cwd=folder,
            env={**os.environ, **_addresses(target)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            # Ctrl-C is for this process, which then ends that one.
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                if stopped():
                    raise TargetError("the run was ended before it began, while users were added")
                time.sleep(LOOK_EVERY_S)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            said.seek(0)
            raise TargetError(f"users could not be added:\n{said.read().strip()[-2000:]}")


def look_before(
    known: Credentials,
    signing_key: tuple[str, bytes] | None,
    own_requests: tuple[bool, bool] = (False, False),
    *,
    say: Callable[[str], None],
) -> Capabilities:
    """What the server shows, told to people as one block. Nothing is changed on the server.

    Raises TargetError for a server that refuses what the run will send, and for limits on figures
    that it cannot give.
    """
    settings = known.settings
    # What a scenario builds itself (submissions, streams) is not asked for here.
    submits = parse_profile(settings.rate).submits and not own_requests[0]
    listens = settings.listeners > 0 and not own_requests[1]
    token = known.tokens.get(1, "")
    shown = preflight(
        known.target,
        user=known.users.get(1),
        token=token if submits else "",
        signing_key=make_signing_key(signing_key),
        stream_token=(token if settings.stream_auth else "") if listens else None,
        stream_gzip=settings.stream_gzip,
    )
    say("\n".join(describe(shown)))
    if untold := unmeasurable(load_slo(settings.slo), shown):
        raise TargetError("; ".join(untold))
    return shown


def _addresses(target: Target) -> Mapping[str, str]:
    """The environment in which one of the project's own programs finds this stack."""
    urls = target.state.get("urls", {})
    return {
        "SCOREBOARD_MYSQL_URL": target.mysql_url,
        "SCOREBOARD_REDIS_URL": urls.get("redis", ""),
        "SCOREBOARD_TEMPORAL_ADDRESS": urls.get("temporal", ""),
    }
