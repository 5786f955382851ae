"""The lock says who supervises a data folder; looking at it disturbs nobody."""

import fcntl
import os
from pathlib import Path

import pytest

from stack.data_folder import RunFolder
from stack.errors import AlreadyRunning
from stack.state import is_locked, take_lock


def look(folder: RunFolder) -> int:
    """A probe in mid look; close the descriptor to end it."""
    descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def test_concurrent_lock_probes_see_no_owner(tmp_path: Path) -> None:
    folder = RunFolder(root=tmp_path)
    other = look(folder)

    assert not is_locked(folder)
    os.close(other)


def test_start_is_not_refused_during_a_lock_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(root=tmp_path)
    other = look(folder)
    monkeypatch.setattr("stack.state.time.sleep", lambda _s: os.close(other))

    os.close(take_lock(folder))


def test_a_supervisor_is_seen_and_refuses_another(tmp_path: Path) -> None:
    folder = RunFolder(root=tmp_path)
    lock = take_lock(folder)

    assert is_locked(folder)
    with pytest.raises(AlreadyRunning):
        take_lock(folder)

    os.close(lock)
    assert not is_locked(folder)
