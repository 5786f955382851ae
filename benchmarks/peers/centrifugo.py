"""A private Centrifugo, built from the Go module proxy once and kept in the user's cache."""

import fcntl
import json
import os
import subprocess
from pathlib import Path
from urllib.parse import quote

from benchmarks.peers.literal.start import missing
from stack.errors import StartFailed
from stack.ports import HOST
from stack.services.programs import cache, find

MODULE, VERSION = "github.com/centrifugal/centrifugo/v6", "v6.9.1"
STREAM_PATH = "/connection/uni_sse?cf_connect=" + quote('{"subs":{"scores":{}}}')
_PROGRAM = cache() / f"centrifugo-{VERSION}" / "centrifugo"


def is_built() -> bool:
    """Whether it stands ready; building it takes minutes."""
    return _PROGRAM.exists()


def available() -> bool:
    """Whether it is built or could be."""
    return is_built() or not missing("go")


def command(file: Path, port: int) -> list[str]:
    """The command that serves on `port`, its settings in `file`. Raises StartFailed."""
    if not is_built():
        _build()
    settings = {
        "http_server": {"address": HOST, "port": port},
        "log": {"level": "error"},
        "client": {"insecure": True},
        "http_api": {"insecure": True},
        "uni_sse": {"enabled": True},
    }
    file.write_text(json.dumps(settings), "utf-8")
    return [str(_PROGRAM), "-c", str(file)]


def _build() -> None:
    if lacks := missing("go"):
        raise StartFailed(f"Centrifugo needs {lacks}, which is not installed.")
    _PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    with (_PROGRAM.parent / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [find("go") or "go", "install", "-trimpath", f"{MODULE}@{VERSION}"],
            env={**os.environ, "GOBIN": str(_PROGRAM.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise StartFailed(f"go install {MODULE} failed:", done.stderr.strip()[-2000:])
