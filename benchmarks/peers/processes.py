"""Runs the generators as processes of their own, so that their CPU is nobody else's.

None outlives this process for long: a task is bounded in time, and a conversation
ends with its stdin.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.engines.standalone import Engine
from harness.net.readiness import EPOLLIN, Readiness

T = TypeVar("T")
Task = TypeVar("Task", bound=msgspec.Struct)
ROOT = Path(__file__).resolve().parents[2]


class GeneratorFailed(RuntimeError):
    """A load generator ended with an error; the message is its last words."""


def answer_task(task: type[Task], run: Callable[[Task], Any]) -> None:
    """The whole main of a generator: run the task in the first argument, print what it gives."""
    print(msgspec.json.encode(run(msgspec.json.decode(sys.argv[1], type=task))).decode())


def answer_lines(engine: Engine, answer: Callable[[str], object]) -> None:
    """The other side of a Conversation: pump the engine, answer each line, until stdin ends."""
    stdin = sys.stdin.fileno()
    os.set_blocking(stdin, False)
    loop = Readiness()
    loop.register(engine.fileno(), EPOLLIN)
    loop.register(stdin, EPOLLIN)
    while True:
        for fd, _ in loop.poll(1.0):
            if fd == stdin:
                asked = os.read(stdin, 4096)
                if not asked:
                    return
                for line in asked.decode().splitlines():
                    print(json.dumps(answer(line)), flush=True)
        engine.pump()


async def output_of(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    """All that it printed, once it has ended; it does not outlive whoever waits."""
    try:
        return await process.communicate()
    except BaseException:
        process.kill()
        raise


async def said_by(
    command: Sequence[str], environ: Mapping[str, str], *, timeout_s: float | None = None
) -> tuple[int, str]:
    """Exit code and whole output of a command that runs in the checkout, with this in its
    environment. Raises TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with asyncio.timeout(timeout_s):
        output, _ = await output_of(process)
    return process.returncode or 0, output.decode(errors="replace")


def words_of(options: Mapping[str, str]) -> list[str]:
    """The options as they are typed."""
    return [text for name, value in options.items() for text in (f"--{name}", value)]


async def run_json(module: str, task: msgspec.Struct, result: type[T]) -> T:
    """Run `benchmarks.peers.<module>` on a task; what it printed. Raises GeneratorFailed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"benchmarks.peers.{module}",
        msgspec.json.encode(task).decode(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await output_of(process)
    if process.returncode != 0:
        raise GeneratorFailed(f"{module}: {err.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(out, type=result)


class Conversation:
    """A process that answers each line with a line of JSON."""

    def __init__(self, module: str, process: asyncio.subprocess.Process) -> None:
        self._module = module
        self._process = process

    async def heard(self) -> Any:
        """The next line. Raises GeneratorFailed when the process has ended."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            words = (await self._process.stderr.read()).decode(errors="replace")
            raise GeneratorFailed(f"{self._module}: {words[-2000:]}")
        return json.loads(line)

    async def ask(self, line: str = "") -> Any:
        """Send a line and hear the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        return await self.heard()


@asynccontextmanager
async def conversation(module: str, *arguments: str) -> AsyncIterator[Conversation]:
    """`benchmarks.peers.<module>` with pipes; it is ended with the context."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"benchmarks.peers.{module}",
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        limit=1 << 26,
    )
    try:
        yield Conversation(module, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
