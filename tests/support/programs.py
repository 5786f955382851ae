"""What a test needs of the machine: it may skip where that is missing, and fails in CI."""

import os
import shutil

import pytest


def need(available: bool, what: str) -> None:
    """Go on if `available`; otherwise skip the test, or fail it in CI."""
    if available:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {what}")
    pytest.skip(f"{what} is missing")


def program(name: str, package: str) -> str:
    """The path of a program that Debian has in `package`."""
    path = shutil.which(name)
    need(path is not None, f"{name} (Debian: {package})")
    assert path is not None
    return path
