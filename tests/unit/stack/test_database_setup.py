"""The database folder is made by a process that this one owns, in a folder that nobody else has."""

import asyncio
import os
from pathlib import Path

import pytest

from stack.errors import StartFailed
from stack.services import Mysql, programs
from tests.support.eventually import eventually

DATADIR = 'for argument; do case "$argument" in --datadir=*) d="${argument#*=}";; esac; done'


def installs(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """The installer is `script`, with $d the folder to fill and $said a file for the test."""
    program = folder / "installer"
    program.write_text(f"#!/bin/sh\nsaid={folder}/said\n{DATADIR}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(programs, "mariadb_install_db", lambda: str(program))
    monkeypatch.setattr(programs, "mysql_server", lambda: "mariadbd")


def unfinished(mysql: Mysql) -> list[Path]:
    return list(mysql.folder.glob("data.new*"))


async def test_a_finished_folder_becomes_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installs(monkeypatch, tmp_path, 'touch "$d/ibdata1"')
    mysql = Mysql(tmp_path / "mysql")
    (tmp_path / "mysql/data.new-of-a-killed-run/mysql").mkdir(parents=True)

    await mysql.prepare()

    assert (mysql.folder / "data/ibdata1").exists()
    assert unfinished(mysql) == []


async def test_an_installer_that_fails_leaves_its_words_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installs(monkeypatch, tmp_path, 'touch "$d/half"; echo no space left >&2; exit 1')
    mysql = Mysql(tmp_path / "mysql")

    with pytest.raises(StartFailed, match="no space left"):
        await mysql.prepare()

    assert not (mysql.folder / "data").exists()
    assert unfinished(mysql) == []


async def test_a_cancelled_set_up_ends_the_installer_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installs(monkeypatch, tmp_path, 'echo $$ >"$said.new"; mv "$said.new" "$said"; sleep 60')
    mysql = Mysql(tmp_path / "mysql")
    preparing = asyncio.create_task(mysql.prepare())
    await eventually((tmp_path / "said").exists)

    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(preparing, 5)

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "said").read_text()), 0)
    assert not (mysql.folder / "data").exists()
    assert unfinished(mysql) == []


async def test_two_attempts_share_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installer of a killed supervisor may still write when the next attempt begins."""
    installs(monkeypatch, tmp_path, 'echo "$d" >>"$said"; exit 1')
    mysql = Mysql(tmp_path / "mysql")

    for _ in range(2):
        with pytest.raises(StartFailed):
            await mysql.prepare()

    first, second = (tmp_path / "said").read_text().splitlines()
    assert first != second
