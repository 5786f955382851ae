"""What makes a run impossible is told before it begins, and looking for it leaves no trace."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from harness import wrong_use
from harness.measure.settings import BadSettings
from harness.report.result_files import write_whole
from harness.wrong_use import check_options, writable, writable_file
from scoreboard_cli.group import CommandError

HOST = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wrong_use, "descriptors", lambda: 200)
    (tmp_path / "file").write_text("nothing of ours")
    return tmp_path


def checked(*, host: str = HOST, processes: int = 1, **values: Any) -> Any:
    small = {"listeners": "10", "players": "10", "duration_s": "5", "rate": "100"}
    options = {f"scoreboard_{name}": value for name, value in (small | values).items()}
    return check_options(options, host=host, processes=processes)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"listeners": "400"}, "--listeners 400 needs about 464 file descriptors"),
        ({"listeners": "400", "processes": 4}, "needs about 264 file descriptors"),
        ({"signing_key": "key:absent"}, "--signing-key: absent: No such file"),
        ({"target": "absent"}, "--target absent: No such file"),
        ({"target": "file"}, "--target file: no TOML"),
        ({"results": "file"}, "--results: file is not a folder"),
        ({"results": "file/below"}, "--results: file is not a folder"),
        ({"results": ""}, "--results must name a folder"),
        ({"results": "x" * 300}, "File name too long"),
        ({"server_pid": "999999999"}, "--server-pid: no process"),
        ({"host": "http://127.0.0.1:9/a b"}, "--host must look like"),
        ({"host": "ftp://x"}, "--host must look like"),
        ({"duration_s": "720h", "rate": "1000k"}, "--results: the history of"),
    ],
)
def test_run_that_cannot_be_done_is_told_and_nothing_is_written(
    values: dict[str, Any], told: str, place: Path
) -> None:
    with pytest.raises((CommandError, BadSettings)) as refused:
        checked(**values)

    assert told in str(refused.value)
    assert [path.name for path in place.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("values", "connections"),
    [
        # One process submits and listens: its descriptors are shared.
        ({}, 126),
        ({"rate": "0"}, 136),
        ({"processes": 2}, 136),
        ({"processes": 4}, 272),
        # Workers that join from elsewhere tell their limit then.
        ({"processes": 0, "listeners": "4000"}, 4096),
    ],
)
def test_connections_are_as_many_as_the_load_processes_can_open(
    values: dict[str, Any], connections: int, place: Path
) -> None:
    assert checked(**values).connections == connections
    assert [path.name for path in place.iterdir()] == ["file"]


def test_places_that_can_be_made_are_not_made_by_looking(place: Path) -> None:
    writable("--results", Path("new/folder"))
    writable_file("--export", Path("new/folder/file.json"))

    assert [path.name for path in place.iterdir()] == ["file"]


def test_pipe_is_written_to_and_a_link_stays_one() -> None:
    os.mkfifo("pipe")
    Path("link").symlink_to("file")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()))
    reader.start()

    writable_file("--export", Path("pipe"))
    write_whole(Path("pipe"), b"whole")
    write_whole(Path("link"), b"new")
    reader.join()

    assert read == [b"whole"]
    assert Path("pipe").is_fifo()
    assert Path("link").is_symlink()
    assert Path("file").read_bytes() == b"new"
