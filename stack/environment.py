"""Judges the whole environment before anything starts: every fault at once.

The processes check their own settings again; here a person learns of a fault before three
databases have started.
"""

from collections.abc import Mapping

from adapters.files import read_file
from scoreboard.settings import SettingsError, from_mapping
from scoreboard.settings.names import FILE
from server.settings import ServerSettings
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


def faults(environment: Mapping[str, str]) -> list[str]:
    """Every fault that keeps the stack from starting, one sentence each."""
    given = {name: value for name, value in environment.items() if value.strip()}
    alone = [name for name in _STAND_INS if given.pop(name + FILE, None)]
    found = [f"{name}{FILE} is for processes that run alone; set {name}" for name in alone]
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
    return list(dict.fromkeys(found))


def _of_address(variable: str, own: str, value: str) -> list[str]:
    try:
        from_mapping(WorkerSettings, {**_STAND_INS, variable: value})
    except SettingsError as error:
        return [fault.replace(variable, own) for fault in str(error).split("; ")]
    return []
