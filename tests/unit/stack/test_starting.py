"""A start tells a port of ours that is taken from one that the program chose for itself."""

import socket
import sys
from pathlib import Path

import pytest

from stack.errors import PortTaken
from stack.ports import HOST, free_port
from stack.services import start

REFUSED = "print('bind: address already in use', flush=True); raise SystemExit(1)"
RUNS = "import signal; signal.pause()"


class InnerPortTaken:
    """A program with a port of its own inside, which somebody else has the first `times` times."""

    name = "temporal"

    def __init__(self, times: int) -> None:
        self.times = times
        self.started_at: list[int] = []

    def command(self, port: int) -> list[str]:
        self.started_at.append(port)
        return [sys.executable, "-c", REFUSED if len(self.started_at) <= self.times else RUNS]

    def environment(self) -> None:
        return None

    async def answers(self, port: int, pid: int) -> bool:
        del port, pid
        return len(self.started_at) > self.times


async def test_a_program_whose_inner_port_was_taken_starts_again_at_its_own(
    tmp_path: Path,
) -> None:
    program, port = InnerPortTaken(times=2), free_port()

    started = await start(program, log=tmp_path / "log", port=port)

    started.process.kill()
    assert (started.port, program.started_at) == (port, [port, port, port])


async def test_a_fixed_port_that_was_taken_at_the_bind_is_told(tmp_path: Path) -> None:
    program, port = InnerPortTaken(times=5), free_port()
    with socket.socket() as other:

        def taken_meanwhile(*_: object) -> None:
            other.bind((HOST, port))
            other.listen()

        with pytest.raises(PortTaken, match=f"Port {port} for temporal is in use"):
            await start(program, log=tmp_path / "log", port=port, on_spawn=taken_meanwhile)

    assert program.started_at == [port]
