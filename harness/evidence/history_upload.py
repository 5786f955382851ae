"""Brings the histories of load processes on other machines into the coordinator's folder.

The coordinator asks for one piece after the other of each file that it does not
see; so at most a piece per process is under way. It judges nothing: what did not
arrive whole is named, and no part of it is left for a judge to read.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.evidence.history_parts import read_at, size_of
from harness.measure.terminal import reason_of

PIECE_BYTES = 1 << 20
"""Of the file; compressed it is about a tenth."""
TIMEOUT_S = 120.0
"""For all files together, which come side by side."""


def read_piece(path: Path, offset: int) -> bytes:
    """The next PIECE_BYTES of a history, or what is left, compressed. Raises OSError."""
    return zlib.compress(read_at(path, offset, PIECE_BYTES), 1)


@dataclass(kw_only=True)
class _Awaited:
    path: Path
    size: int
    name: str
    arrived: int = 0
    problem: str = ""

    @property
    def draft(self) -> Path:
        return self.path.with_suffix(".part")


class Handover:
    """The coordinator's half. `ask` requests the piece at an offset from the user of that ident."""

    def __init__(self, ask: Callable[[str, int], None]) -> None:
        self._ask = ask
        self._awaited: dict[str, _Awaited] = {}

    def expect(self, ident: str, path: Path, *, size: int, host: str) -> None:
        """Expect a history of `size` bytes at `path`, and request it when it is absent."""
        if size_of(path) == size:
            return
        name = f"{path.name} of {host}"
        self._awaited[ident] = _Awaited(path=path, size=size, name=name)
        self._ask(ident, 0)

    def take(self, ident: str, offset: int, piece: bytes, problem: str) -> None:
        """A piece, or why there is none. Ignored unless it is the one asked for."""
        awaited = self._awaited.get(ident)
        if awaited is None or offset != awaited.arrived or awaited.problem:
            return
        content = b""
        if not problem:
            try:
                content = zlib.decompressobj().decompress(piece, PIECE_BYTES)
            except zlib.error as error:
                problem = str(error)
        if not content:
            awaited.problem = problem or "the file ends early"
            return
        try:
            with awaited.draft.open("ab" if offset else "wb") as file:
                file.write(content)
        except OSError as error:
            awaited.problem = reason_of(error)
            return
        awaited.arrived += len(content)
        if awaited.arrived < awaited.size:
            self._ask(ident, awaited.arrived)
        else:
            awaited.draft.replace(awaited.path)
            del self._awaited[ident]

    @property
    def ended(self) -> bool:
        """No further piece is expected."""
        return all(awaited.problem for awaited in self._awaited.values())

    def give_up(self) -> list[str]:
        """A sentence for each incomplete history; its partial file is removed."""
        lacking = list(self._awaited.values())
        self._awaited.clear()
        for awaited in lacking:
            awaited.draft.unlink(missing_ok=True)
        return [
            f"{a.name} did not arrive whole: {a.arrived:,} of {a.size:,} bytes"
            f" ({a.problem or f'within {TIMEOUT_S:g} s'})"
            for a in lacking
        ]
