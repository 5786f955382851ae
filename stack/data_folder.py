"""The data folder: its paths, its private files, and the signing secret it keeps.

Who runs on it and what runs is in `stack.state`.
"""

import contextlib
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from scoreboard.tokens import MIN_SECRET_BYTES
from scoreboard_cli import running_stack
from stack.errors import DataFolderUnusable, StackError

ROOM_OF_NEW_DATA = 256 << 20
"""Bytes that a first start needs: MariaDB's redo log and tables are most of it."""

ROOM_TO_GO_ON = 32 << 20
"""Bytes that a start with existing data needs, for logs and the first transactions."""


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """The paths inside a data folder."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / running_stack.FILE

    @property
    def control(self) -> Path:
        return self.root / "control.sock"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def children(self) -> Path:
        return self.root / "children.json"

    @property
    def ports(self) -> Path:
        return self.root / "ports.json"

    @property
    def secret(self) -> Path:
        return self.root / "jwt-secret"

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"


def prepare(folder: RunFolder) -> None:
    """Makes the folder, and sees that it can be used. Raises DataFolderUnusable."""
    where = shown_path(folder)
    try:
        close_to_others(folder)
        probe = folder.root / f"probe-{os.getpid()}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
        room = shutil.disk_usage(folder.root).free
    except FileExistsError:
        raise DataFolderUnusable(where, "it is not a folder") from None
    except OSError as error:
        raise DataFolderUnusable(where, (error.strerror or "it cannot be used").lower()) from None
    needed = ROOM_OF_NEW_DATA if not (folder.root / "mysql" / "data").exists() else ROOM_TO_GO_ON
    if room < needed:
        raise DataFolderUnusable(
            where,
            f"no space left: {room >> 20} MiB are free, at least {needed >> 20} MiB are needed",
        )


def close_to_others(folder: RunFolder) -> None:
    """Makes the folder and what will be in it its owner's alone, whatever umask the shell has.

    One that exists already is closed only if it is ours: `SCOREBOARD_DATA_DIR=/tmp` must not take
    that from everybody. Files that an earlier version left readable are closed with it.
    Raises OSError.
    """
    os.umask(0o077)
    is_ours = folder.secret.exists() or folder.state.exists()
    folder.root.mkdir(parents=True, exist_ok=True)
    parts = [folder.root / name for name in ("logs", "mysql", "redis", "temporal")]
    closed = [*parts]
    if is_ours:
        closed += [folder.root, *folder.root.iterdir()]
        closed += [inside for part in parts for inside in part.rglob("*")]
    for each in closed:
        with contextlib.suppress(FileNotFoundError):
            _close_to_others(each)


def _close_to_others(path: Path) -> None:
    found = path.lstat()
    mode = stat.S_IMODE(found.st_mode)
    # A link's own mode means nothing, and what it leads to may be anybody's.
    if mode & 0o077 and found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode):
        path.chmod(mode & 0o700)


def private_secret(folder: RunFolder) -> str:
    """The signing secret of this data folder, made at first use. Raises StackError."""
    try:
        if not folder.secret.exists():
            folder.root.mkdir(parents=True, exist_ok=True)
            write_private(folder.secret, secrets.token_urlsafe(48))
        secret = folder.secret.read_text("utf-8").strip()
    except UnicodeDecodeError:
        secret = ""
    except OSError as error:
        raise DataFolderUnusable(shown_path(folder), (error.strerror or "").lower()) from None
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise StackError(
            f"The signing secret in {shown_path(folder)}/{folder.secret.name} is damaged: it has "
            f"fewer than {MIN_SECRET_BYTES} bytes. Remove that file, and a new secret is made; "
            "tokens signed with the old one stop working."
        )
    return secret


def shown_path(folder: RunFolder) -> str:
    """The data folder as a person would type it from here."""
    with contextlib.suppress(ValueError):
        return str(folder.root.relative_to(Path.cwd()))
    return str(folder.root)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, whole or not at all."""
    unfinished = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        unfinished.unlink()
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    unfinished.replace(path)
