"""Settings of the processes, built once from a mapping (the environment, in `__main__`).

Missing and malformed values are reported together, by name, before anything
connects. Secrets never show in `repr`.
"""

import importlib.util
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar
from urllib.parse import urlsplit

from scoreboard.addresses import MySqlAddress, mysql_address, redis_files, redis_url
from scoreboard.contract import TASK_QUEUE
from scoreboard.settings.names import FILE
from scoreboard.tokens import MIN_SECRET_BYTES

T = TypeVar("T")

SECONDS_MAX = 10 * 366 * 24 * 3600
"""Ten years. Larger numbers overflow where a duration becomes microseconds or a date."""

WHOLE_MAX = 2**63 - 1
_DECIMAL = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class SettingsError(Exception):
    """One or more settings are missing or malformed; the message lists each by name."""


def host_and_port(value: str) -> str:
    """Check a `host:port` address. Raises ValueError when it is none."""
    parts = urlsplit(f"//{value}")
    if not parts.hostname or not parts.port or parts.netloc != value or parts.username is not None:
        raise ValueError("must look like host:port")
    return value


def secret_bytes(value: str) -> bytes:
    """A shared secret of at least 32 bytes (RFC 7518, section 3.2, asks for that with HS256)."""
    raw = value.encode()
    if len(raw) < MIN_SECRET_BYTES:
        raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes")
    return raw


def positive_int(value: str) -> int:
    """A whole number above zero."""
    return _whole(value, 1, "a whole number above 0")


def non_negative_int(value: str) -> int:
    """A whole number, 0 or above."""
    return _whole(value, 0, "a whole number, 0 or above")


def port_number(value: str) -> int:
    """A TCP port."""
    return _whole(value, 0, "a port number, 0 to 65535", most=65535)


def non_negative_float(value: str) -> float:
    """A finite number, 0 or above."""
    return _number(value, "a number, 0 or above", lambda number: 0 <= number < math.inf)


def positive_seconds(value: str) -> float:
    """A duration above zero; an endless one would be a wait that nothing ends."""
    return _number(
        value,
        f"a number of seconds above 0, at most {SECONDS_MAX}",
        lambda number: 0 < number <= SECONDS_MAX,
    )


def non_negative_seconds(value: str) -> float:
    """A duration that may be zero."""
    return _number(
        value,
        f"a number of seconds from 0 to {SECONDS_MAX}",
        lambda number: 0 <= number <= SECONDS_MAX,
    )


def ratio(value: str) -> float:
    """A share, from 0 to 1."""
    return _number(value, "a number from 0 to 1", lambda number: 0 <= number <= 1)


def _whole(value: str, least: int, form: str, *, most: int = WHOLE_MAX) -> int:
    # Not int() alone, which takes "1_0" and digits of every script.
    number = int(value) if re.fullmatch(r"[0-9]{1,19}", value) else -1
    if not least <= number <= most:
        raise ValueError(f"must be {form}")
    return number


def _number(value: str, form: str, is_allowed: Callable[[float], bool]) -> float:
    # Not float() alone, which takes "1_0", "inf" and digits of every script.
    number = float(value) if _DECIMAL.fullmatch(value) else math.nan
    # No comparison holds for nan.
    if not is_allowed(number):
        raise ValueError(f"must be {form}")
    return number


def flag(value: str) -> bool:
    """`true` or `false` (also 1, 0, yes, no)."""
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if value.lower() not in known:
        raise ValueError("must be true or false")
    return known[value.lower()]


def api_key(value: str) -> str:
    """A key that can be sent as a header. Raises ValueError when it cannot."""
    if not (value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII")
    return value


def web_address(value: str) -> str:
    """An address of HTTP. Raises ValueError when it is none."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must look like http://host:port")
    return value


def codec_name(value: str) -> str:
    """Where a payload codec is found. Raises ValueError for another form."""
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
        raise ValueError("must look like package.module:name")
    return value


def setting(
    name: str,
    parse: Callable[[str], Any],
    about: str,
    default: Any = MISSING,
    *,
    secret: bool = False,
    files: Callable[[Any], Iterable[str]] = lambda _: (),
    judge: Callable[[bytes], object] = lambda _: None,
) -> Any:
    """A dataclass field read from the variable `name`; `about` is its line in the manual, and
    `files` tells which files a value names. `judge` raises ValueError for the content of one that
    cannot be used."""
    metadata = {"variable": name, "parse": parse, "about": about, "files": files, "judge": judge}
    return _field(metadata, default, secret=secret)


def pem_setting(name: str, about: str, *, secret: bool = False) -> Any:
    """A field that holds the content of the PEM file named by the variable; empty without it."""
    return _field({"variable": name, "judge": pem, "about": about}, b"", secret=secret)


def pem(content: bytes) -> None:
    """Raises ValueError for what no certificate or key can be in."""
    if b"-----BEGIN " not in content:
        raise ValueError("it has no certificate or key in PEM")


def _field(metadata: dict[str, Any], default: Any, *, secret: bool) -> Any:
    if default is MISSING:
        return field(metadata=metadata, repr=not secret)
    return field(metadata=metadata, repr=not secret, default=default)


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Where the services are; every process needs these."""

    mysql: MySqlAddress = setting(  # noqa: RUF009 (pyproject names it by where others import it from)
        "SCOREBOARD_MYSQL_URL",
        mysql_address,
        "MySQL: mysql://user:password@host:port/database",
        files=lambda address: address.files,
        judge=pem,
    )
    # Secret because a Redis URL may carry a password.
    redis: str = setting(
        "SCOREBOARD_REDIS_URL",
        redis_url,
        "Redis: redis://host:port/0",
        secret=True,
        files=redis_files,
        judge=pem,
    )
    temporal_address: str = setting(
        "SCOREBOARD_TEMPORAL_ADDRESS", host_and_port, "Temporal: host:port"
    )
    temporal_namespace: str = setting(
        "SCOREBOARD_TEMPORAL_NAMESPACE", str, "Temporal namespace", "default"
    )
    temporal_tls: bool = setting(
        "SCOREBOARD_TEMPORAL_TLS",
        flag,
        "Connect to Temporal by TLS; implied by any of the next four",
        False,
    )
    temporal_tls_ca: bytes = pem_setting(
        "SCOREBOARD_TEMPORAL_TLS_CA",
        "File of CA certificates (PEM) that verify Temporal's certificate; default: the system's",
    )
    temporal_tls_cert: bytes = pem_setting(
        "SCOREBOARD_TEMPORAL_TLS_CERT", "File of the client certificate for Temporal (PEM): mTLS"
    )
    temporal_tls_key: bytes = pem_setting(
        "SCOREBOARD_TEMPORAL_TLS_KEY", "File of that certificate's private key (PEM)", secret=True
    )
    temporal_api_key: str = setting(
        "SCOREBOARD_TEMPORAL_API_KEY", api_key, "API key for Temporal", "", secret=True
    )
    temporal_codec: str = setting(
        "SCOREBOARD_TEMPORAL_CODEC",
        codec_name,
        "Payload codec for encryption: module:name of a temporalio PayloadCodec",
        "",
    )
    task_queue: str = setting("SCOREBOARD_TASK_QUEUE", str, "Temporal task queue", TASK_QUEUE)
    otlp_endpoint: str = setting(
        "SCOREBOARD_OTLP_ENDPOINT",
        web_address,
        "Collector of OpenTelemetry traces, like http://127.0.0.1:4318; needs the extra `otel`",
        "",
    )
    trace_ratio: float = setting(
        "SCOREBOARD_TRACE_RATIO",
        ratio,
        "Share of traces that are sampled, 0 to 1; unsampled ones cost almost nothing",
        0.01,
    )
    log_requests: bool = setting(
        "SCOREBOARD_LOG_REQUESTS",
        flag,
        "Log every submission with its id: one line when accepted, one when decided",
        False,
    )

    def __post_init__(self) -> None:
        if found := self.conflicts():
            raise SettingsError("; ".join(found))

    def conflicts(self) -> list[str]:
        """Settings that do not go together, one sentence each, with the variable first."""
        found = []
        if self.otlp_endpoint and importlib.util.find_spec("opentelemetry") is None:
            found.append(
                "SCOREBOARD_OTLP_ENDPOINT needs packages that are not installed: `make up` brings"
                " them, or pip install '.[otel]' in the checkout"
            )
        if self.temporal_tls_cert and not self.temporal_tls_key:
            found.append("SCOREBOARD_TEMPORAL_TLS_CERT needs SCOREBOARD_TEMPORAL_TLS_KEY beside it")
        if self.temporal_tls_key and not self.temporal_tls_cert:
            found.append("SCOREBOARD_TEMPORAL_TLS_KEY needs SCOREBOARD_TEMPORAL_TLS_CERT beside it")
        return found

    @property
    def temporal_uses_tls(self) -> bool:
        """Whether the connection to Temporal is encrypted: a secret is never sent in the clear."""
        return self.temporal_tls or any(
            (
                self.temporal_tls_ca,
                self.temporal_tls_cert,
                self.temporal_tls_key,
                self.temporal_api_key,
            )
        )


def from_mapping(
    kind: type[T], values: Mapping[str, str], read: Callable[[str], bytes] | None = None
) -> T:
    """Build settings of `kind` from `values`. Raises SettingsError naming every fault.

    `read` gives the content of a file by its path, or raises OSError; without it no
    setting may name a file.
    """
    faults: list[str] = []
    found: dict[str, Any] = {}
    for item in fields(kind):  # type: ignore[arg-type]
        name = item.metadata["variable"]
        try:
            text = _text(name, values, read)
        except ValueError as error:
            faults.append(f"{name}{FILE} {error}")
            continue
        if text:
            try:
                if "parse" not in item.metadata:
                    found[item.name] = _judged(text, read, item.metadata["judge"])
                else:
                    found[item.name] = item.metadata["parse"](text)
                    for path in item.metadata["files"](found[item.name]):
                        _judged(path, read, item.metadata["judge"])
            except ValueError as error:
                # Python's own messages repeat the value; for secrets that would leak.
                reason = str(error) if str(error).startswith("must") else "is malformed"
                faults.append(f"{name} {reason}")
        elif item.default is MISSING:
            faults.append(f"{name} is missing ({item.metadata['about']})")
    if faults:
        raise SettingsError("; ".join([*faults, *_conflicts(kind, found, faults)]))
    return kind(**found)


def _text(name: str, values: Mapping[str, str], read: Callable[[str], bytes] | None) -> str:
    """The value of a variable, or of the file that its _FILE form names: for mounted secrets."""
    text = values.get(name, "").strip()
    path = values.get(name + FILE, "").strip()
    if path and text:
        raise ValueError(f"stands beside {name}: give one of them")
    try:
        return _content(path, read).decode().strip() if path else text
    except UnicodeDecodeError:
        raise ValueError(f"must name a file of text: {path}") from None


def _conflicts(kind: type[Any], found: Mapping[str, Any], faults: list[str]) -> list[str]:
    """What else would be wrong with these values, were the faults mended."""
    values = object.__new__(kind)
    for item in fields(kind):
        default = None if item.default is MISSING else item.default
        object.__setattr__(values, item.name, found.get(item.name, default))
    named = {fault.partition(" ")[0] for fault in faults}
    conflicts: list[str] = values.conflicts() if hasattr(values, "conflicts") else []
    return [each for each in conflicts if each.partition(" ")[0] not in named]


def _judged(
    path: str, read: Callable[[str], bytes] | None, judge: Callable[[bytes], object]
) -> bytes:
    content = _content(path, read)
    try:
        judge(content)
    except ValueError as error:
        raise ValueError(f"must name a file that can be used: {path}: {error}") from None
    return content


def _content(path: str, read: Callable[[str], bytes] | None) -> bytes:
    try:
        content = read(path) if read is not None else b""
    except OSError as error:
        raise ValueError(f"must name a file that can be read: {path}: {error.strerror}") from None
    if not content:
        raise ValueError(f"must name a file that is not empty: {path}")
    return content


def describe(kind: type[Any]) -> list[tuple[str, str, str]]:
    """Rows (variable, default, meaning) of a settings class, for the manual."""

    def default_text(item: Field[Any]) -> str:
        if item.default is MISSING:
            return "required"
        match item.default:
            case tuple(values):
                return ",".join(values)
            case bool(given):
                return str(given).lower()
            case bytes(text):
                return text.decode()
            case other:
                return str(other)

    return [
        (item.metadata["variable"], default_text(item), item.metadata["about"])
        for item in fields(kind)
    ]
