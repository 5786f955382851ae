"""Troubles of the data folder are sentences, not tracebacks."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from stack.__main__ import main
from stack.data_folder import RunFolder, prepare, private_secret
from stack.errors import DataFolderUnusable, StackError


def test_a_usable_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    prepare(RunFolder(root=tmp_path / "data"))

    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("command", [("up",), ("token", "--user", "1")])
@pytest.mark.parametrize("place", ["file", "file/data"])
def test_file_in_place_of_the_data_folder_is_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    command: tuple[str, ...],
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCOREBOARD_DATA_DIR", str(tmp_path / place))

    assert main(command) == 1
    assert capsys.readouterr().err.startswith(
        f"error: The data folder {tmp_path / place} cannot be used: "
    )


def test_unwritable_data_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _content: bytes) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)

    with pytest.raises(DataFolderUnusable, match="cannot be used: permission denied"):
        prepare(RunFolder(root=tmp_path))


def test_full_disk_is_reported_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=12 << 20))

    with pytest.raises(DataFolderUnusable, match="no space left: 12 MiB are free"):
        prepare(RunFolder(root=tmp_path))


def test_data_that_exists_needs_less_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mysql/data").mkdir(parents=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=64 << 20))

    prepare(RunFolder(root=tmp_path))


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40])
def test_damaged_secret_is_reported_and_not_used(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "jwt-secret").write_bytes(content)

    with pytest.raises(StackError, match="is damaged: it has fewer than 32 bytes"):
        private_secret(RunFolder(root=tmp_path))


@pytest.mark.parametrize("arguments", [("--user", "0"), ("--user", "-5"), ("--ttl-s", "0")])
def test_a_token_that_could_never_work_is_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "--user", "1", *arguments]) == 2
    assert "must be a whole number from 1" in capsys.readouterr().err


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_new_folder_and_all_that_comes_into_it_are_its_owners_alone(tmp_path: Path) -> None:
    folder = RunFolder(root=tmp_path / "data")

    prepare(folder)
    (folder.root / "mysql").mkdir()
    (folder.root / "mysql" / "table").write_text("x")

    assert mode(folder.root) == mode(folder.root / "mysql") == 0o700
    assert mode(folder.root / "mysql" / "table") == 0o600


@pytest.mark.usefixtures("open_umask")
def test_folder_of_an_earlier_version_is_closed_and_one_of_others_is_left(tmp_path: Path) -> None:
    earlier, others = RunFolder(root=tmp_path / "earlier"), RunFolder(root=tmp_path / "others")
    for folder in (earlier, others):
        (folder.root / "logs").mkdir(parents=True)
        (folder.root / "logs" / "server.log").write_text("x")
    earlier.secret.write_text("x" * 32)
    (earlier.root / "mysql" / "data").mkdir(parents=True)
    (earlier.root / "mysql" / "data" / "table").write_text("x")
    (earlier.root / "mysql" / "link").symlink_to(others.root / "logs" / "server.log")

    prepare(earlier)
    prepare(others)

    assert mode(earlier.root) == mode(earlier.root / "logs") == 0o700
    assert mode(earlier.root / "mysql" / "data") == 0o700
    files = [earlier.secret, earlier.log("server"), earlier.root / "mysql" / "data" / "table"]
    assert [mode(each) for each in files] == [0o600] * 3
    assert (mode(others.root), mode(others.log("server"))) == (0o755, 0o644)
