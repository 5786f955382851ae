"""What a person sees: a few calm lines. On a terminal a line of progress moves; elsewhere not."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TextIO

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_CLEAR_LINE = "\r\x1b[2K"
_FRAME_S = 0.1


class Console:
    """Writes to `out`; colour and progress only on a terminal (and never with NO_COLOR)."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out if out is not None else sys.stdout
        self._terminal = self._out.isatty()
        self._colour = self._terminal and not os.environ.get("NO_COLOR")
        self._moving = False

    def line(self, text: str = "") -> None:
        """One whole line, above the line of progress."""
        clear = _CLEAR_LINE if self._moving else ""
        # The terminal may be gone (SIGHUP); that must not keep the stack from stopping.
        with contextlib.suppress(OSError, ValueError):
            self._out.write(f"{clear}{text}\n")
            self._out.flush()

    def done(self, name: str, what: str) -> None:
        self.line(f"  {self.green('✓')} {name:<9} {what}")

    def notice(self, text: str) -> None:
        """Something a person should know, with the time it happened."""
        self.line(f"  {self.dim(time.strftime('%H:%M:%S'))} {text}")

    def green(self, text: str) -> str:
        return f"\x1b[32m{text}\x1b[0m" if self._colour else text

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._colour else text

    def dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self._colour else text

    @asynccontextmanager
    async def progress(self, what: Callable[[], str]) -> AsyncIterator[None]:
        """Shows `what()` and the elapsed time while the body runs."""
        if not self._terminal:
            yield
            return
        began = time.monotonic()

        async def move() -> None:
            frame = 0
            while True:
                text = f"{_FRAMES[frame % len(_FRAMES)]} {what()} {time.monotonic() - began:.0f} s"
                with contextlib.suppress(OSError, ValueError):
                    self._out.write(f"{_CLEAR_LINE}  {text}")
                    self._out.flush()
                frame += 1
                await asyncio.sleep(_FRAME_S)

        self._moving = True
        mover = asyncio.create_task(move())
        try:
            yield
        finally:
            mover.cancel()
            self._moving = False
            with contextlib.suppress(OSError, ValueError):
                self._out.write(_CLEAR_LINE)
                self._out.flush()
