"""Places where a fault test makes the worker fail. Inert unless a file is named.

The file holds lines `name count action`: the point trips `count` times and the
line is then used up. Actions: `exit` (the process ends at once, as by kill -9),
`raise`, `sleep:<milliseconds>`. Each trip appends `name unix_seconds` to
`<file>.fired`, so that a test can prove that its fault happened.
"""

import asyncio
import fcntl
import os
import time
from pathlib import Path


class FailpointTripped(Exception):
    """The fault that `raise` asks for."""


class Failpoints:
    """The failpoints of one file; `path` empty means none, at no cost."""

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None

    async def hit(self, name: str) -> None:
        """Trip the failpoint `name` if it is armed."""
        action = self._take(name) if self._path is not None else None
        if action is None:
            return
        if action == "exit":
            os._exit(70)
        if action.startswith("sleep:"):
            await asyncio.sleep(int(action.removeprefix("sleep:")) / 1000)
            return
        raise FailpointTripped(name)

    def _take(self, name: str) -> str | None:
        assert self._path is not None
        try:
            file = self._path.open("r+")
        except FileNotFoundError:
            return None
        with file:
            # Several workers share the file: each armed trip must be taken once.
            fcntl.flock(file, fcntl.LOCK_EX)
            lines = [line.split() for line in file if line.strip()]
            for line in lines:
                if line[0] == name and int(line[1]) > 0:
                    line[1] = str(int(line[1]) - 1)
                    file.seek(0)
                    file.truncate()
                    file.writelines(" ".join(item) + "\n" for item in lines if int(item[1]) > 0)
                    with self._path.with_name(self._path.name + ".fired").open("a") as fired:
                        fired.write(f"{name} {time.time():.6f}\n")
                    return line[2]
        return None
