"""Files named by settings, and the Lua scripts that ship inside a package."""

import importlib.resources
from pathlib import Path


def read_file(path: str) -> bytes:
    """The content of a file that a setting names. Raises OSError."""
    return Path(path).read_bytes()


def script(package: str, name: str) -> str:
    """The text of the Lua script `name` in `package`."""
    return importlib.resources.files(package).joinpath(f"{name}.lua").read_text("utf-8")
