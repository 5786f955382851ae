"""Judges the whole environment before anything starts: every fault at once, and unknown names.

The processes check their own settings again; here a person learns of a fault before three
databases have started.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path

from adapters.files import read_file
from scoreboard.settings import SettingsError, from_mapping
from server.settings import ServerSettings
from stack.manual import configuration
from stack.settings import (
    ADDRESS_VARIABLES,
    CLUSTER,
    DEVELOPMENT,
    TEMPORAL_SERVER_VARIABLE,
)
from worker.settings import WorkerSettings

_STAND_INS = {
    "SCOREBOARD_MYSQL_URL": "mysql://root@127.0.0.1:3306/scoreboard",
    "SCOREBOARD_REDIS_URL": "redis://127.0.0.1:6379/0",
    "SCOREBOARD_TEMPORAL_ADDRESS": "127.0.0.1:7233",
    "SCOREBOARD_JWT_SECRET": "a private secret is made at first use",
}
"""What the stack provides where the environment names nothing."""

_PREFIXES = (
    "SCOREBOARD_LOAD_",
    *(f"SCOREBOARD_{role}_{what}" for role in ("SERVER", "WORKER") for what in ("M", "R", "T")),
)
_NAME = re.compile(r"SCOREBOARD_[A-Z0-9_]*[A-Z0-9]\b")


def faults(environment: Mapping[str, str]) -> list[str]:
    """Every fault that keeps the stack from starting, one sentence each."""
    given = {name: value for name, value in environment.items() if value.strip()}
    found: list[str] = []
    for settings in (ServerSettings, WorkerSettings):
        try:
            from_mapping(settings, {**_STAND_INS, **given}, read_file)
        except SettingsError as error:
            found += str(error).split("; ")
    for role in ("SERVER", "WORKER"):
        for variable in ADDRESS_VARIABLES.values():
            own = variable.replace("SCOREBOARD_", f"SCOREBOARD_{role}_")
            if own in given:
                found += _of_address(variable, own, given[own])
    kinds = (DEVELOPMENT, CLUSTER)
    if (kind := given.get(TEMPORAL_SERVER_VARIABLE, DEVELOPMENT)) not in kinds:
        found.append(f"{TEMPORAL_SERVER_VARIABLE} must be {' or '.join(kinds)}: {kind}")
    for place in given.get("SCOREBOARD_JWKS", "").split():
        found += _of_file("SCOREBOARD_JWKS", place.rpartition("|")[2])
    found += _of_file("SCOREBOARD_SIGNATURE_KEYS", given.get("SCOREBOARD_SIGNATURE_KEYS", ""))
    return list(dict.fromkeys(found))


def _of_address(variable: str, own: str, value: str) -> list[str]:
    try:
        from_mapping(WorkerSettings, {**_STAND_INS, variable: value})
    except SettingsError as error:
        return [fault.replace(variable, own) for fault in str(error).split("; ")]
    return []


def _of_file(name: str, value: str) -> list[str]:
    """Files that the server reads again and again, and would only log as missing."""
    if not value or "://" in value:
        return []
    try:
        Path(value).read_bytes()
    except OSError as error:
        return [f"{name} must name a file that can be read: {value}: {error.strerror}"]
    return []


def unknown(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each SCOREBOARD_* name that nothing reads, with the nearest that exists."""
    known = set(_NAME.findall(configuration()))
    told = []
    for name in sorted(environment):
        if name.startswith("SCOREBOARD_") and name not in known and not name.startswith(_PREFIXES):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            hint = f"; did you mean {near[0]}?" if near else ""
            told.append(f"{name} is no setting of Scoreboard and has no effect{hint}")
    return told
