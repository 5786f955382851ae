"""The server's program: what this machine lacks to run it, whether it is built, and its build."""

from pathlib import Path

from stack.errors import MissingProgram
from stack.services.go_programs import GoProgram, go_version
from stack.services.programs import find

SERVER = GoProgram(
    source=Path(__file__).parent / "go",
    package=".",
    name="temporal-server",
    folder="temporal",
    flags=("-ldflags=-s -w",),
)
_GO_LEAST = (1, 21)
"""From that version on, Go fetches the toolchain that go.mod names."""


def is_built() -> bool:
    """Whether a cluster can start without minutes of building before it."""
    return SERVER.is_built and postgres("postgres") is not None


def lacking() -> str:
    """What this machine lacks to build and run it; empty when it lacks nothing."""
    if postgres("postgres") is None:
        return "PostgreSQL (apt-get install postgresql)"
    if not SERVER.is_built and go_version() < _GO_LEAST:
        return "Go 1.21 or later"
    return ""


def postgres(name: str) -> str | None:
    """A program of PostgreSQL, which Debian keeps outside everybody's PATH; the newest one."""
    places = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(places, key=lambda path: int(path.parts[4].partition(".")[0]), default=None)
    return str(newest) if newest else find(name)


def needed(name: str) -> str:
    """As `postgres`. Raises MissingProgram."""
    if found := postgres(name):
        return found
    raise MissingProgram("PostgreSQL", "apt-get install postgresql")
