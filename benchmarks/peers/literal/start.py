"""Starts a literal server on a free port, and stops it. Builds what needs building, once.

Not a supervisor: one process, whose end is the end of the `with` block.
"""

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stack.errors import StartFailed
from stack.process import spawn
from stack.services.go_programs import GoProgram, go_version
from stack.services.programs import find

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
START_TIMEOUT_S = 30.0
_GO_NEEDED = "Go 1.21 or later"
"""From that version on, Go fetches the toolchain that go.mod names."""
READY = ("http://", "worker")
"""How the first line of output begins."""
_GO = {"go": "memory", "fiber": "fiber"}
_PROGRAMS = {"python": "", "node": "node", **dict.fromkeys(_GO, "go")}
LANGUAGES = ("python", "node", "go")
"""Those with their state in memory, which need nothing but themselves. `fiber` needs services."""


@dataclass(frozen=True, kw_only=True)
class Literal:
    """A server that serves: where, with which secret, as which process. `log` holds its lies."""

    language: str
    url: str
    secret: str
    pid: int
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def lies(self) -> list[dict[str, str]]:
        """The single lies told so far: `lie`, `user` and `increment` of each."""
        told = []
        for line in self.log.read_text("utf-8").splitlines():
            if line.startswith("lie "):
                _, name, *fields = line.split(" ")
                told.append({"lie": name, **dict(text.split("=", 1) for text in fields)})
        return told


@cache
def missing(language: str) -> str:
    """What this machine lacks to run it; empty when it lacks nothing."""
    program = _PROGRAMS[language]
    if program and find(program) is None:
        return "Node 18 or later" if program == "node" else _GO_NEEDED
    return _GO_NEEDED if program == "go" and go_version() < (1, 21) else ""


def command(language: str) -> list[str]:
    """The command that runs it. Builds a Go server when its source has changed.

    Raises StartFailed with the compiler's words.
    """
    if lacks := missing(language):
        raise StartFailed(f"The {language} server needs {lacks}, which is not installed.")
    if language == "python":
        return [sys.executable, "-m", "benchmarks.peers.literal.server"]
    if language == "node":
        return ["node", str(HERE / "server.mjs")]
    return [str(_built(_GO[language]))]


def _built(package: str) -> Path:
    """The program of a Go package, from the user's cache or built into it."""
    return GoProgram(
        source=HERE / "go", package=f"./{package}", name=package, folder="literal"
    ).built()


@contextmanager
def serving(
    language: str,
    *,
    lies: Sequence[str] = (),
    lie_every: int = 20,
    users: int = 1000,
    secret: str = "",
    environ: Mapping[str, str] | None = None,
) -> Iterator[Literal]:
    """A server that answers, on a free port of 127.0.0.1, ended with the block.

    `environ` adds variables, such as RATE_LIMIT, and for `fiber` the addresses of its services. A
    worker (ROLE=worker) has no URL. Call it in the main thread. Raises StartFailed.
    """
    secret = secret or secrets.token_hex(32)
    told = {"JWT_SECRET": secret, "PORT": "0", "USERS": str(users), "LIE_EVERY": str(lie_every)}
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="scoreboard-literal-") as folder:
        log = Path(folder) / f"{language}.log"
        process = spawn(
            f"literal-{language}",
            command(language),
            log=log,
            env={**inherited, **told, "LIE": ",".join(lies), **(environ or {})},
            cwd=ROOT,
        )
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not (url := log.read_text("utf-8").partition("\n")[0]).startswith(READY):
                if not process.alive or time.monotonic() > deadline:
                    raise StartFailed(f"{process.name} did not start.", process.log_tail())
                time.sleep(0.01)
            yield Literal(language=language, url=url, secret=secret, pid=process.pid, log=log)
        finally:
            process.stop(5.0)


if __name__ == "__main__":
    # For CI, which builds beside other work what tests will ask for.
    for name in _GO:
        print(*command(name))
