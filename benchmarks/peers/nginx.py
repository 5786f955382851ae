"""A private nginx with nchan, without installing it: no system service is touched.

An installed nginx with the module is used as it is; otherwise the two Debian
packages are downloaded by apt-get and unpacked into a cache folder.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from stack.errors import MissingProgram
from stack.ports import HOST
from stack.services import programs

_PACKAGES = ("nginx", "libnginx-mod-nchan")
_INSTALL = f"apt-get install {' '.join(_PACKAGES)}"
_MODULE = "usr/lib/nginx/modules/ngx_nchan_module.so"
DOWNLOAD_TIMEOUT_S = 120

# One worker process: nchan's own advice is one per core, and more of them pass every
# message through shared memory once more, which costs CPU per delivery.
_CONF = """\
daemon off;
master_process on;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr error;
load_module {module};
{user}
events {{ worker_connections 19000; use epoll; multi_accept on; }}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_requests 100000000;
  keepalive_timeout 3600s;
  nchan_shared_memory_size 512M;
  server {{
    listen {host}:{port} backlog=4096;
    location = /publish {{
      nchan_publisher;
      nchan_channel_id scores;
      nchan_message_buffer_length 5000;
      nchan_message_timeout 60s;
    }}
    location = /scores/stream {{
      nchan_subscriber eventsource;
      nchan_channel_id scores;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"""


@cache
def _root() -> Path:
    """Where nginx and the module are: `/` or the cache. Raises MissingProgram."""
    if Path("/usr/sbin/nginx").exists() and Path("/", _MODULE).exists():
        return Path("/")
    cached = programs.cache()
    root = cached / "nginx"
    if not (root / _MODULE).exists():
        _download(cached, root)
    return root


def _download(cached: Path, root: Path) -> None:
    if shutil.which("apt-get") is None:
        raise MissingProgram("nginx with nchan", _INSTALL)
    packages = cached / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    unfinished = cached / f"nginx.{os.getpid()}"
    try:
        subprocess.run(
            ["apt-get", "-q", "download", *_PACKAGES],
            cwd=packages,
            check=True,
            capture_output=True,
            timeout=DOWNLOAD_TIMEOUT_S,
        )
        for package in packages.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, unfinished], check=True, capture_output=True)
        for program in (unfinished / "usr/sbin/nginx", unfinished / _MODULE):
            _make_relative(program)
        shutil.rmtree(root, ignore_errors=True)
        unfinished.replace(root)
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingProgram("nginx with nchan", _INSTALL) from error
    finally:
        shutil.rmtree(packages, ignore_errors=True)
        shutil.rmtree(unfinished, ignore_errors=True)


def _make_relative(program: Path) -> None:
    """Have our copy keep its temporary files below its prefix.

    nchan makes nginx use the compiled-in folder /var/lib/nginx whatever the
    configuration says; a relative name of the same length is taken from the prefix.
    """
    program.write_bytes(program.read_bytes().replace(b"/var/lib/nginx/", b"private-folder/"))


def available() -> bool:
    """Whether nginx with nchan is there, or could be fetched."""
    try:
        _root()
    except MissingProgram:
        return False
    return True


def configure(folder: Path, port: int) -> None:
    """Write the configuration of an instance below `folder` that listens on `port`."""
    own = folder / "nginx"
    (own / "private-folder").mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    (own / "nginx.conf").write_text(
        _CONF.format(folder=own, port=port, host=HOST, module=_root() / _MODULE, user=user), "utf-8"
    )


def command(folder: Path) -> list[str]:
    """The command that serves the configuration in the foreground."""
    own = folder / "nginx"
    return [str(_root() / "usr/sbin/nginx"), "-p", str(own), "-c", str(own / "nginx.conf")]
