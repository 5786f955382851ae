"""Reads a trace from a file, within bounds. The forms of its lines are `rows`'."""

import gzip
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from harness.measure.trace.plan import SUBMISSIONS_MAX, Trace
from harness.measure.trace.rows import BadTrace, expected, rows_of

BYTES_MAX = 1 << 30
LINE_MAX = 8192


class TraceFile(str):
    """The name of a file, as it was typed, with what the file held when it was read: a log that
    grows meanwhile changes no run."""

    __slots__ = ("trace",)
    trace: Trace

    def __deepcopy__(self, memo: dict[int, Any]) -> "TraceFile":
        return self

    @classmethod
    def read(cls, path: str, pattern: str = "") -> "TraceFile":
        """Reads it, unless it was. Raises BadTrace, also for a file that cannot be opened."""
        if isinstance(path, TraceFile):
            return path
        found = cls(path)
        try:
            found.trace = read_trace(Path(path), pattern)
        except BadTrace as error:
            raise BadTrace(f"{path}: {error}") from None
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadTrace(f"{path}: {reason}") from None
        return found


def read_trace(path: Path, pattern: str = "") -> Trace:
    """The trace in a file, gzip where its name ends in `.gz`. A second or two per 100,000 lines.

    Raises BadTrace, and OSError when the file cannot be read.
    """
    at_ns, places, increments = array("q"), array("q"), array("q")
    users: dict[str, int] = {}
    with _opened(path) as file:
        lines = _Lines(file)
        rows, whole_seconds = rows_of(lines, pattern)
        for moment_ns, user, increment in rows:
            if len(at_ns) >= SUBMISSIONS_MAX:
                raise BadTrace(
                    f"line {lines.number}: more than {SUBMISSIONS_MAX:,} submissions, the most "
                    "that a trace may have: cut it into several"
                )
            at_ns.append(moment_ns)
            places.append(users.setdefault(user, len(users)))
            increments.append(increment)
    if not at_ns:
        asked = "--trace-pattern matches" if pattern else "is a submission (POST, PUT or PATCH)"
        raise BadTrace(f"none of its {lines.number:,} lines {asked}: nothing would be sent")
    return Trace.of(at_ns, places, increments, [*users], whole_seconds=whole_seconds)


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


class _Lines:
    """The lines of a file, of bounded length; `number` is that of the newest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        read = 0
        while line := self._file.readline(LINE_MAX + 1):
            self.number += 1
            if len(line) > LINE_MAX:
                raise expected(
                    self.number, f"at most {LINE_MAX:,} bytes", line[:40].decode("utf-8", "replace")
                )
            read += len(line)
            if read > BYTES_MAX:
                raise BadTrace(
                    f"line {self.number}: more than {BYTES_MAX >> 20:,} MiB, the most that is read "
                    "of a trace: cut it into several"
                )
            yield line.decode("utf-8", "replace")
