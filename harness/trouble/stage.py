"""Where one trouble is played: a folder, and the harness' commands running in it.

Each command is a process of its own, started as a user starts it; its output goes to a file that
can be watched while it runs.
"""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, Unpack

import harness
from harness.report.document import LoadResult
from harness.report.result_files import UnreadableResult, read_result_as
from harness.trouble.verdicts import UNKNOWN_EXIT, Said

PATIENCE_S = 75.0
"""A command that has not ended by then is stopped: the harness promises seconds."""
LOOK_EVERY_S = 0.03
ROOT = str(Path(harness.__file__).parents[1])
SCENARIO = Path(harness.__file__).with_name("scenario.py")
SHORT = (
    *("--rate", "200", "--listeners", "10", "--players", "100", "--warmup", "1"),
    *("--duration", "3", "--timeout", "2", "--late-limit", "5s", "--results", "results"),
)
"""Small enough for several side by side; a busy machine must not decide about them."""


class How(TypedDict, total=False):
    """How a command runs: variables beside ours, and its hard limit of open files."""

    environ: Mapping[str, str]
    descriptors: int


class NeverHappened(Exception):
    """A trouble could not be planted: what it waited for did not come."""


@dataclass
class Started:
    """A running command."""

    process: "subprocess.Popen[bytes]"
    log: Path
    results: Path

    def text(self) -> str:
        """All it has printed."""
        return self.log.read_text("utf-8", errors="replace")

    def when(self, happened: Callable[[], bool], what: str) -> "Started":
        """Wait for a moment of the run. Raises NeverHappened."""
        end = time.monotonic() + PATIENCE_S
        while not happened():
            if self.process.poll() is not None or time.monotonic() > end:
                raise NeverHappened(f"{what} did not happen: {self.text()[-300:]}")
            time.sleep(LOOK_EVERY_S)
        return self

    def when_phase(self, name: str) -> "Started":
        """Wait until `scoreboard load` has come to a phase, which it prints."""
        return self.when(lambda: f"s  {name}\n" in self.text(), f"phase {name!r}")

    def when_sending(self, submissions: int = 300) -> "Started":
        """Wait until about so many submissions have been written to the history."""
        return self.when(lambda: _sent(self.results) >= submissions, "sending")

    def interrupt(self, number: int = signal.SIGINT) -> "Started":
        """Ctrl-C, or another signal, to the command alone."""
        self.process.send_signal(number)
        return self

    def ended(self) -> Said:
        """Wait for the end."""
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = UNKNOWN_EXIT
        return Said(exit=code, text=self.text(), document=_result(self.results))

    def member(self, kind: str) -> int:
        """The process id of a load process, by the history it writes."""
        self.when(lambda: bool(self._writers(kind)), f"a {kind}")
        return self._writers(kind)[0]

    def _writers(self, kind: str) -> list[int]:
        found = []
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                target = link.readlink()
                inside = target.is_relative_to(self.results.parent)
                if inside and target.name.startswith(f"history-{kind}-"):
                    found.append(int(link.parts[2]))
        return [pid for pid in found if pid != self.process.pid]


@dataclass
class Stage:
    """One folder of its own; whatever was started in it is killed at its end."""

    folder: Path
    opened: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(SCENARIO, self.folder / "scenario.py")

    def load(self, url: str, *options: str, **how: Unpack[How]) -> Started:
        """`scoreboard load` on the small scenario; later options replace its defaults."""
        words = ("load", "--host", url, "--locustfile", "scenario.py", "--no-ceiling")
        return self.harness(*words, *SHORT, *options, **how)

    def harness(self, *words: str, **how: Unpack[How]) -> Started:
        """Any command of the harness."""
        return self.start([sys.executable, "-m", "harness", *words], **how)

    def locust(self, *options: str, name: str = ".", **how: Unpack[How]) -> Started:
        """The command `locust`; processes with different names have working folders of their own,
        as different machines have."""
        (self.folder / name).mkdir(exist_ok=True)
        words = ("-m", "locust", "-f", str(self.folder / "scenario.py"))
        return self.start([sys.executable, *words, *options], name=name, **how)

    def start(
        self,
        command: Sequence[str],
        *,
        name: str = ".",
        **how: Unpack[How],
    ) -> Started:
        """Start a command."""
        cwd = self.folder / name
        log = cwd / f"log-{len(list(cwd.glob('log-*')))}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SCOREBOARD_", "LOCUST_"))}
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={
                    **kept,
                    "PYTHONPATH": ROOT,
                    "TMPDIR": str(self.folder),
                    "PYTHONUNBUFFERED": "1",
                    **how.get("environ", {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if (descriptors := how.get("descriptors")) is not None:
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
        self.opened.callback(_end_session, process)
        return Started(process=process, log=log, results=cwd / "results")


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """The address of a server that gives every request on a connection the same answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        if connection.recv(65536):
                            connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def _end_session(process: "subprocess.Popen[bytes]") -> None:
    # Its own children too, which share its session.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A stage, cleared at the end."""
    found = Stage(folder=folder)
    with found.opened:
        yield found


def _sent(results: Path) -> int:
    return sum(
        path.read_bytes().count(b"\n") // 2 for path in results.glob("*/history-submitters-*.jsonl")
    )


def _result(results: Path) -> LoadResult | None:
    # A result that found no place in its folder is in that for temporary files.
    for path in (*sorted(results.glob("*.json")), *sorted(results.parent.glob("2*.json"))):
        with contextlib.suppress(OSError, UnreadableResult):
            return read_result_as(path, LoadResult)
    return None
