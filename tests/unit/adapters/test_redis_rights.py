"""The commands that are probed: all that scripts and clients use."""

import re
from pathlib import Path

import pytest

from adapters.redis_rights import SERVER_COMMANDS, WORKER_COMMANDS

ROOT = Path(__file__).resolve().parents[3]
METHODS = {"delete": "del"}
NOT_COMMANDS = {"aclose", "execute", "pipeline", "pubsub", "register_script"}


def used(package: str) -> set[str]:
    """Commands in the scripts of a package, and methods that it calls on its clients."""
    found = set()
    for path in (ROOT / package).rglob("*.lua"):
        found |= set(re.findall(r"redis\.p?call\('(\w+)'", path.read_text("utf-8")))
    for path in (ROOT / package).rglob("*.py"):
        found |= set(
            re.findall(r"\b(?:self\._redis|pipeline|redis)\.(\w+)\(", path.read_text("utf-8"))
        )
    return {METHODS.get(name.lower(), name.lower()) for name in found}


@pytest.mark.parametrize(
    ("package", "commands"), [("server", SERVER_COMMANDS), ("worker", WORKER_COMMANDS)]
)
def test_every_command_in_use_is_probed(package: str, commands: tuple[str, ...]) -> None:
    names = used(package) - NOT_COMMANDS - {"connect", "connect_readers"}

    assert len(names) > 10
    assert names <= set(commands)


@pytest.mark.parametrize("commands", [SERVER_COMMANDS, WORKER_COMMANDS])
def test_every_probed_command_has_arguments(commands: tuple[str, ...]) -> None:
    text = (ROOT / "adapters" / "probe.lua").read_text("utf-8")

    assert set(commands) <= set(re.findall(r"^  (\w+) = \{", text, re.MULTILINE))
