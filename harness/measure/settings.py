"""What a run is asked to do, and the options that ask for it. Not how it is done.

The same options serve `python -m harness load`, `locust -f loadtests/` and the
fields of Locust's web form. Under Locust a value may also come from the
environment, as its own do: `--rate` from SCOREBOARD_LOAD_RATE.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.measure.schedule import parse_profile
from scoreboard.signing import SigningKey, parse_key

PREFIX = "SCOREBOARD_LOAD_"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """One run. `duration_s` 0 means until stopped; `slo` lists limits (`harness.measure.slo`)."""

    rate: str = "1000"
    arrivals: str = "constant"
    players: int = 1000
    listeners: int = 1000
    duration_s: float = 60.0
    warmup_s: float = 5.0
    connections: int = 4096
    timeout_s: float = 10.0
    seed: int = 1
    late_limit_ms: float = 50.0
    slo: str = ""
    mysql_url: str = ""
    signing_key: str = ""
    stream_auth: bool = False
    stream_gzip: bool = False
    label: str = ""
    results: str = "results"

    def __post_init__(self) -> None:
        parse_profile(self.rate)
        if self.arrivals not in ("constant", "poisson"):
            raise ValueError("--arrivals is constant or poisson")
        for name in ("players", "connections"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1")
        if self.signing_key and not all(self.signing_key.partition(":")):
            raise ValueError("--signing-key must be ID:FILE")
        for name in ("listeners", "duration_s", "warmup_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name.removesuffix('_s')} must not be negative")

    def to_json(self) -> dict[str, Any]:
        """Plain values for the result file; the database's password stays out.

        Of the signing key there is the id, not the file.
        """
        values = asdict(self)
        values.pop("mysql_url")
        values["signing_key"] = self.signing_key.partition(":")[0]
        return values


OPTIONS: tuple[tuple[str, str, type, str], ...] = (
    (
        "--rate",
        "rate",
        str,
        "submissions/s: 1000, 500x10,1000x10, 100-2000x60, spike:1000-5000@20+2",
    ),
    ("--arrivals", "arrivals", str, "constant or poisson"),
    ("--players", "players", int, "users the submissions are for, ids 1..N"),
    ("--listeners", "listeners", int, "open SSE connections"),
    ("--duration", "duration_s", float, "seconds measured after the warm-up; 0 runs until stopped"),
    ("--warmup", "warmup_s", float, "seconds sent first and left out of every percentile"),
    (
        "--connections",
        "connections",
        int,
        "most keep-alive connections for submissions; opened as needed",
    ),
    ("--timeout", "timeout_s", float, "seconds after which an answer counts as lost"),
    ("--seed", "seed", int, "of the arrival schedule and the choice of users"),
    ("--late-limit", "late_limit_ms", float, "p99 of the generator's own delay that voids the run"),
    ("--slo", "slo", str, "limits, as in p99<250ms,lag_p99<500ms,errors<0.1%%; or a file of them"),
    ("--mysql-url", "mysql_url", str, "look into the ledger for the verdict; default: the stack's"),
    (
        "--signing-key",
        "signing_key",
        str,
        "ID:FILE: sign every submission (RFC 9421) with this key; FILE holds a shared secret in "
        "base64 (HMAC-SHA256) or an Ed25519 private key in PEM",
    ),
    ("--stream-auth", "stream_auth", bool, "every listener carries the token of a player"),
    ("--stream-gzip", "stream_gzip", bool, "every listener accepts gzip, as browsers do"),
    ("--label", "label", str, "a name for the result file"),
    ("--results", "results", str, "folder for result files"),
)


def add_options(parser: argparse.ArgumentParser, *, for_locust: bool = False) -> None:
    """Add every option of a run to a parser of ours or of Locust's."""
    defaults = RunSettings()
    for flag, name, kind, text in OPTIONS:
        default = getattr(defaults, name)
        # Only Locust's parser knows `env_var`.
        extra: dict[str, Any] = (
            {"env_var": PREFIX + flag[2:].upper().replace("-", "_")} if for_locust else {}
        )
        # Locust has a --users of its own, so under Locust they are players only.
        alias = () if for_locust or flag != "--players" else ("--users",)
        if kind is bool:
            extra["action"] = "store_true"
        else:
            extra["type"] = kind
        parser.add_argument(
            flag,
            *alias,
            dest=f"scoreboard_{name}",
            default=default,
            help=text if default in ("", False) else f"{text} ({default})",
            **extra,
        )


def settings_from(values: Mapping[str, Any]) -> RunSettings:
    """Settings from parsed options. Raises ValueError with the option's name."""
    known = {field.name for field in fields(RunSettings)}
    given = {
        name.removeprefix("scoreboard_"): value
        for name, value in values.items()
        if name.startswith("scoreboard_") and value is not None
    }
    defaults = asdict(RunSettings())
    # Locust's web form hands every value over as text.
    return RunSettings(**{n: type(defaults[n])(v) for n, v in given.items() if n in known})


def read_signing_key(option: str) -> tuple[str, bytes] | None:
    """Id and file content of `--signing-key ID:FILE`, None for an empty one.

    For a process that hands them on; `signing_key` makes the key. Raises ValueError, also
    when the file cannot be read or holds no key.
    """
    key_id, _, path = option.partition(":")
    if not path:
        return None
    try:
        raw = Path(path).read_bytes()
        parse_key(key_id, raw)
    except OSError as error:
        raise ValueError(f"--signing-key: {path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"--signing-key: {path}: {error}") from None
    return key_id, raw


def signing_key(found: Sequence[Any] | None) -> SigningKey | None:
    """The key of what `read_signing_key` found, in this process or in the one that sent it."""
    return None if found is None else parse_key(*found)
