"""Programs in Go whose source is in this repository: built once into the user's cache.

Built where Go is, and only when asked for; a digest of the source names the file, so that a change
of the source builds again and another checkout finds what this one built.
"""

import fcntl
import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StartFailed
from stack.services.programs import cache, find


@dataclass(frozen=True, kw_only=True)
class GoProgram:
    """`package` of the module in `source`, kept in `folder` of the cache."""

    source: Path
    package: str
    name: str
    folder: str
    flags: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where the program is once it has been built."""
        digest = hashlib.sha256()
        for path in sorted(self.source.rglob("*")):
            if path.suffix in {".go", ".mod", ".sum"}:
                digest.update(path.relative_to(self.source).as_posix().encode())
                digest.update(path.read_bytes())
        return cache() / self.folder / f"{self.name}-{digest.hexdigest()[:16]}"

    @property
    def is_built(self) -> bool:
        return self.path.exists()

    def built(self) -> Path:
        """The program, built first if need be. Raises StartFailed with the compiler's words."""
        program = self.path
        program.parent.mkdir(parents=True, exist_ok=True)
        with (program.parent / f"{self.name}.lock").open("w", encoding="utf-8") as lock:
            # Two test processes would otherwise compile the same packages twice.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                self._build(program)
        return program

    def _build(self, program: Path) -> None:
        fresh = program.with_suffix(".new")
        always = ("-trimpath", "-buildvcs=false", *self.flags)
        built = subprocess.run(
            [find("go") or "go", "build", *always, "-o", str(fresh), self.package],
            cwd=self.source,
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise StartFailed(f"go build {self.package} failed:", built.stderr.strip()[-2000:])
        for old in program.parent.glob(f"{self.name}-*"):
            if old != fresh:
                old.unlink()
        fresh.rename(program)


def go_version() -> tuple[int, int]:
    """The version of the Go that is installed; (0, 0) without one."""
    found = find("go")
    if found is None:
        return (0, 0)
    told = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, check=True)
    numbers = [int(text) for text in re.findall(r"\d+", told.stdout)[:2]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
