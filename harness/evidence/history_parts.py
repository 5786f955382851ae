"""A history in parts: `x.jsonl`, then `x.jsonl.2`, `x.jsonl.3`, … Not what stands in them.

A run of hours writes gigabytes: no part is much larger than PART_BYTES, and each is closed once
it is full, so that it can be copied away meanwhile. Lines are whole in each.
"""

from collections.abc import Iterator
from pathlib import Path

PART_BYTES = 64 << 20


class PartsWriter:
    """Appends blocks of whole lines to the newest part. Raises OSError."""

    def __init__(self, path: Path, part_bytes: int = PART_BYTES) -> None:
        self._path = path
        self._part_bytes = part_bytes
        self._number = 1
        self._written = 0
        for old in parts_of(path)[1:]:
            old.unlink()
        self._file = path.open("wb")

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._file.closed

    def write(self, block: bytes) -> int:
        """Append a block; its length."""
        if self._written >= self._part_bytes:
            self._file.close()
            self._number += 1
            self._written = 0
            self._file = _part(self._path, self._number).open("wb")
        self._written += self._file.write(block)
        return len(block)

    def flush(self) -> None:
        """Hand all to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Close the newest part."""
        self._file.close()


def parts_of(path: Path) -> list[Path]:
    """The parts of a history in their order, the first one whether it exists or not."""
    return [path, *(_part(path, number) for number in _numbers(path))]


def lacks_a_part(path: Path) -> bool:
    """Whether a part between others is gone."""
    numbers = _numbers(path)
    return numbers != [*range(2, len(numbers) + 2)]


def size_of(path: Path) -> int:
    """Bytes in all parts; -1 where there is no first one. Raises OSError."""
    return sum(part.stat().st_size for part in parts_of(path)) if path.is_file() else -1


def read_at(path: Path, offset: int, size: int) -> bytes:
    """At most `size` bytes at an offset in all parts together. Raises OSError."""
    for part in parts_of(path):
        with part.open("rb") as file:
            length = file.seek(0, 2)
            if offset < length:
                file.seek(offset)
                return file.read(size)
            offset -= length
    return b""


def history_paths(path: Path) -> Iterator[Path]:
    """The histories at `path`: itself, or every ``history*.jsonl`` in the folder, by name."""
    if path.is_dir():
        yield from sorted(path.glob("history*.jsonl"))
    else:
        yield path


def _part(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _numbers(path: Path) -> list[int]:
    endings = (other.name.removeprefix(f"{path.name}.") for other in path.parent.glob("*.jsonl.*"))
    return sorted(int(ending) for ending in endings if ending.isdecimal())
