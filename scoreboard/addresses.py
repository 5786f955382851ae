"""Addresses of MySQL and Redis: their URLs taken apart, every part known or refused.

Nothing connects here, and no file is read. Each ValueError says what a value must be, and repeats
no secret.
"""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

OWN_PORTS = range(12_000, 30_000)
"""Where a port of ours is chosen from, for a program that must be told it: below those that the
kernel hands out by itself, so that between choice and bind neither a connection takes it nor a
program that asks the kernel for more, as Temporal's server does. They fit a SMALLINT."""

SSL_MODES = ("DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
"""Of a MySQL URL, as MySQL's own clients name them; there is no mode that may fall back to plain
text. VERIFY_IDENTITY is the default as soon as any part about TLS is given."""

_MYSQL_PARTS = ("ssl_mode", "ssl_ca", "ssl_cert", "ssl_key")
_REDIS_TLS_PARTS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_REDIS_PARTS = ("prefix", "client_name", *_REDIS_TLS_PARTS)
_SENTINEL_PARTS = ("sentinel_username", "sentinel_password")
REDIS_SCHEMES = {
    "redis": _REDIS_PARTS,
    "rediss": _REDIS_PARTS,
    "redis+sentinel": (*_REDIS_PARTS, *_SENTINEL_PARTS),
    "rediss+sentinel": (*_REDIS_PARTS, *_SENTINEL_PARTS),
    "redis+cluster": _REDIS_PARTS,
    "rediss+cluster": _REDIS_PARTS,
}
"""The forms of a Redis URL, and the parts that each may have after the question mark."""

_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class MySqlAddress:
    """Where MySQL is, from `mysql://user:password@host:port/database?ssl_ca=…`.

    `ssl_mode` is one of SSL_MODES; the files are named as given.
    """

    host: str
    port: int
    user: str
    database: str
    password: str = field(repr=False, default="")
    ssl_mode: str = "DISABLED"
    ssl_ca: str = ""
    ssl_cert: str = ""
    ssl_key: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the address names."""
        return tuple(filter(None, (self.ssl_ca, self.ssl_cert, self.ssl_key)))


def url_parts(query: str, known: Collection[str]) -> dict[str, str]:
    """The parts after a URL's question mark; a dash counts as an underscore.

    Raises ValueError for a part that is not `known`, that comes twice or is empty: what is asked
    for and dropped in silence is found out when it is too late.
    """
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        name = name.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; the nearest is {near[0]}" if near else f"; known: {', '.join(known)}"
            raise ValueError(f"must not have the part {name[:40]!r}{hint}")
        if name in found or not value:
            raise ValueError(f"must have the part {name} once, with a value")
        found[name] = value
    return found


def _port(parts: SplitResult, default: int) -> int:
    # Reading it raises when it is no number.
    try:
        port = parts.port
    except ValueError:
        raise ValueError("must have a port from 1 to 65535") from None
    if port == 0:
        raise ValueError("must have a port from 1 to 65535")
    return port or default


def mysql_address(value: str) -> MySqlAddress:
    """Parse a MySQL URL. Raises ValueError with a reason that repeats no secret."""
    parts = urlsplit(value)
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme != "mysql" or not parts.hostname or not database:
        raise ValueError("must look like mysql://user:password@host:port/database")
    if "/" in database or parts.fragment or "#" in value:
        raise ValueError("must end with the database's name; write # and / in it as %23 and %2F")
    given = url_parts(parts.query, _MYSQL_PARTS)
    mode = given.pop("ssl_mode", "VERIFY_IDENTITY" if given else "DISABLED").upper()
    if mode not in SSL_MODES:
        raise ValueError(f"must have an ssl_mode of {', '.join(SSL_MODES)}")
    if given and mode == "DISABLED":
        raise ValueError("must not name certificates with ssl_mode=DISABLED")
    if ("ssl_cert" in given) != ("ssl_key" in given):
        raise ValueError("must name both ssl_cert and ssl_key, or neither")
    return MySqlAddress(
        host=parts.hostname,
        port=_port(parts, 3306),
        user=unquote(parts.username or "root"),
        password=unquote(parts.password or ""),
        database=database,
        ssl_mode=mode,
        **given,
    )


def redis_url(value: str) -> str:
    """Check a Redis URL of one of REDIS_SCHEMES. Raises ValueError when it is none."""
    parts = urlsplit(value)
    if parts.scheme not in REDIS_SCHEMES:
        near = difflib.get_close_matches(parts.scheme, REDIS_SCHEMES, n=1)
        hint = f"; the nearest is {near[0]}://" if near else ""
        raise ValueError(f"must look like redis://host:port/0{hint}")
    given = url_parts(parts.query, REDIS_SCHEMES[parts.scheme])
    if parts.fragment or "#" in value:
        raise ValueError("must not have a #; write it as %23")
    if not parts.scheme.startswith("rediss") and (tls := set(given) & set(_REDIS_TLS_PARTS)):
        raise ValueError(f"must begin with rediss for the part {min(tls)}")
    if not _PREFIX.fullmatch(given.get("prefix", "x")):
        raise ValueError("must have a prefix of 1 to 64 letters, digits and _ . : -")
    if given.get("ssl_check_hostname", "true").lower() not in {"true", "false"}:
        raise ValueError("must have ssl_check_hostname true or false")
    hosts = redis_hosts(parts)
    form = "must look like redis://user:password@host:port/0"
    path = parts.path.strip("/").split("/")
    if parts.scheme.endswith("+sentinel"):
        form = "must look like redis+sentinel://user:password@host:port,host:port/name/0"
        if not path.pop(0):
            raise ValueError(form)
    elif parts.scheme.endswith("+cluster"):
        form = "must look like redis+cluster://user:password@host:port,host:port"
        path += ["none"] * (path not in ([""], ["0"]))
    elif len(hosts) > 1:
        raise ValueError(f"{form}; several hosts are redis+sentinel:// or redis+cluster://")
    if len(path) > 1 or not re.fullmatch(r"\d{0,4}", "".join(path)):
        raise ValueError(form)
    return value


def redis_hosts(parts: SplitResult) -> list[tuple[str, int]]:
    """The hosts and ports of a Redis URL. Raises ValueError."""
    default = 26379 if parts.scheme.endswith("+sentinel") else 6379
    hosts = []
    for each in parts.netloc.rpartition("@")[2].split(","):
        place = urlsplit(f"//{each}")
        if not place.hostname:
            raise ValueError("must look like redis://host:port/0")
        hosts.append((place.hostname, _port(place, default)))
    return hosts


def redis_files(value: str) -> tuple[str, ...]:
    """The files that a Redis URL names."""
    files = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
    return tuple(text for name, text in parse_qsl(urlsplit(value).query) if name in files)
