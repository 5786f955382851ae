"""What machine, interpreter and commit a figure comes from. Not how busy it was."""

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def fingerprint(folder: Path | None = None) -> dict[str, Any]:
    """Plain values that tell two machines or two states of the code apart."""
    return {
        "cpus": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": _git(folder, "rev-parse", "--short=12", "HEAD"),
        "changed": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
    }


def commit_of(machine: Mapping[str, Any]) -> str:
    """The commit of a fingerprint, marked when the tree had changes that it does not hold."""
    return f"{machine['commit']}, changed" if machine.get("changed") else str(machine["commit"])


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.machine()
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(folder: Path | None, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ("git", *arguments), cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
