"""What a run is asked to do, and the options that ask for it. Not how it is done.

The same options serve `python -m harness load`, `locust -f loadtests/` and the
fields of Locust's web form. Under Locust a value may also come from the
environment, as its own do: `--rate` from SCOREBOARD_LOAD_RATE.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from harness.measure.figures import DURATIONS
from harness.measure.quantities import SECONDS_MAX, parse_seconds, parse_whole
from harness.measure.schedule import BadProfile, parse_profile
from harness.measure.slo import (
    DEFAULT_LIMITS,
    BadSlo,
    SloLimit,
    canonical,
    histogram_and_quantile,
    load_slo,
    with_defaults,
)
from harness.measure.trace.options import faults_of_trace, parse_speed, settled
from harness.measure.trace.rows import BadTrace
from harness.measure.trace.trace_file import TraceFile
from harness.measure.workload import DURATIONS as TRAFFIC_DURATIONS
from harness.measure.workload import OPTIONS as TRAFFIC_OPTIONS
from harness.measure.workload import Traffic, Workload
from scoreboard.addresses import mysql_address
from scoreboard.signing import SigningKey, parse_key

PREFIX = "SCOREBOARD_LOAD_"
ARRIVALS = ("constant", "poisson")


class BadSettings(ValueError):
    """Options that make no run. The message has a line for each fault."""


@dataclass(frozen=True, kw_only=True)
class RunSettings(Traffic):
    """One run. `duration_s` 0 means until stopped; `slo` lists limits (`harness.measure.slo`).

    Raises BadSettings with everything that is wrong.
    """

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
    target: str = ""
    reads: str = "0"
    server_pid: str = ""
    server_name: str = ""
    signing_key: str = ""
    stream_auth: bool = False
    stream_gzip: bool = False
    label: str = ""
    results: str = "results"

    def __post_init__(self) -> None:
        if faults := list(self._faults()):
            raise BadSettings("\n".join(faults))

    def _faults(self) -> Iterator[str]:
        profile = None
        try:
            profile = parse_profile(self.rate)
        except BadProfile as error:
            yield f"--rate: {error}"
        if profile is not None and not profile.submits and not self.listeners:
            yield "--rate 0 and --listeners 0 leave nothing to measure: give one of them"
        try:
            if parse_profile(self.reads).submits and profile is not None and not profile.submits:
                yield "--reads needs submissions besides: give a --rate"
        except BadProfile as error:
            yield f"--reads: {error}"
        yield from self._out_of_range()
        traffic = [
            *faults_of_trace(vars(self)),
            *self.faults_of_traffic(
                listeners=self.listeners,
                players=self.players,
                length_s=self.warmup_s + self.duration_s if self.duration_s else 0.0,
            ),
        ]
        yield from traffic
        if traffic:
            return
        try:
            limits = load_slo(self.slo)
        except BadSlo as error:
            yield from (f"--slo: {line}" for line in str(error).splitlines())
            return
        if profile is not None and 0 < self.duration_s < math.inf and self.warmup_s < math.inf:
            submissions = self._arrivals(self.warmup_s + self.duration_s)
            submissions -= self._arrivals(self.warmup_s)
            for limit in limits:
                yield from self._out_of_reach(limit, submissions)

    @property
    def submissions(self) -> float:
        """All that the run intends, with the warm-up; 0 where it has no end."""
        return self._arrivals(self.warmup_s + self.duration_s) if self.duration_s else 0.0

    def _arrivals(self, end_s: float) -> float:
        return sum(s.arrivals for s in self.workload.profile(end_s).segments) if end_s else 0.0

    @property
    def workload(self) -> Workload:
        """When its submissions are due, and whose they are."""
        asked = {f.name: getattr(self, f.name) for f in fields(Workload) if f.name != "played"}
        played = None
        if self.trace:
            file = TraceFile.read(self.trace, self.trace_pattern)
            played = file.trace.at_speed(self.trace_speed)
        return Workload(**{**asked, "trace": str(self.trace)}, played=played)

    def _out_of_range(self) -> Iterator[str]:
        if self.arrivals not in ARRIVALS:
            yield f"--arrivals is constant or poisson, not {self.arrivals!r}"
        for name, least in (("players", 1), ("connections", 1), ("listeners", 0)):
            if getattr(self, name) < least:
                yield f"--{name} must be at least {least}"
        for flag, name in (("timeout", "timeout_s"), ("late-limit", "late_limit_ms")):
            if not 0 < getattr(self, name) < SECONDS_MAX:
                yield f"--{flag} must be more than 0, and finite"
        for flag in ("duration", "warmup"):
            if not 0 <= getattr(self, f"{flag}_s") <= SECONDS_MAX:
                yield f"--{flag} must not be negative, and finite"
        if 0 < self.duration_s < 1:
            yield "--duration must be at least 1 s: every figure is made of whole seconds"
        if self.server_pid and not all(part.isdecimal() for part in self.server_pid.split(",")):
            yield f"--server-pid must be PID or PID,PID,…, not {self.server_pid!r}"
        if not self.results:
            yield "--results must name a folder"
        if self.signing_key and not all(self.signing_key.partition(":")):
            yield "--signing-key must be ID:FILE"

    def _out_of_reach(self, limit: SloLimit, submissions: float) -> Iterator[str]:
        """Why the figure of a limit cannot be measured in this run, whatever the server does."""
        found = histogram_and_quantile(limit.figure)
        if found is None:
            if not submissions and self.duration_s:
                yield f"--slo: {limit.text!r} needs submissions, and --rate {self.rate} makes none"
            return
        source = next(d.source for d in DURATIONS if d.name == found[0])
        if source == "reads" and self.reads == "0":
            yield f"--slo: {limit.text!r} needs --reads"
        if source == "storms" and not self.reconnect_storm:
            yield f"--slo: {limit.text!r} needs --reconnect-storm"
        if source in ("listeners", "both") and not self.listeners:
            yield f"--slo: {limit.text!r} needs listeners, and --listeners is 0"
        # A Poisson process may bring more arrivals than its rate says, never twice as many.
        most = submissions * (2 if self.arrivals == "poisson" else 1) + 1
        if source == "submissions" and most < limit.samples_min:
            yield (
                f"--slo: {limit.text!r} needs at least {limit.samples_min:,} submissions; "
                f"--rate {self.rate} makes {submissions:,.0f} in the {self.duration_s:g} s measured"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values for the result file; the database's password stays out.

        Of the signing key there is the id, not the file.
        """
        values = asdict(self)
        values.pop("mysql_url")
        values["trace"] = str(values["trace"])
        values["signing_key"] = self.signing_key.partition(":")[0]
        return values


class Option(NamedTuple):
    """One option of a run: `name` is its field in RunSettings, `choices` are all its values."""

    flag: str
    name: str
    metavar: str
    about: str
    choices: tuple[str, ...] | None = None

    @property
    def default(self) -> str | bool:
        """As somebody would type it; False for a flag."""
        value = getattr(RunSettings(), self.name)
        if isinstance(value, bool):
            return value
        return f"{value:g}" if isinstance(value, float) else str(value)

    @property
    def help(self) -> str:
        """Its help text, with the default where it has one."""
        return f"{self.about} ({self.default})" if self.default else self.about


# In the order of Locust's web form and of `--help`: those that a person sets most come first.
OPTIONS = (
    Option(
        "--rate",
        "rate",
        "PROFILE",
        "submissions/s: 1000, 1k, 100/m, 500x10,1000x10, 100-2000x60s, spike:1000-5000@20+2",
    ),
    Option("--listeners", "listeners", "N", "open SSE connections"),
    Option(
        "--duration",
        "duration_s",
        "SECONDS",
        "measured after the warm-up: 60, 60s, 1m; 0 runs until stopped",
    ),
    Option(
        "--warmup",
        "warmup_s",
        "SECONDS",
        "sent first and left out of every percentile: 5, 5s",
    ),
    Option(
        "--slo",
        "slo",
        "LIMITS",
        "limits: p99:250ms,lag_p99:500ms,errors:0.1%,goodput:990/s, or with an operator, "
        "'p99<250ms'; @FILE reads them from a file. A run that submits has "
        f"{canonical(DEFAULT_LIMITS)} by default: name a figure to change it, none to have neither",
    ),
    Option("--players", "players", "N", "users that submissions are for, ids 1..N"),
    Option("--arrivals", "arrivals", "KIND", "constant or poisson", choices=ARRIVALS),
    Option(
        "--connections",
        "connections",
        "N",
        "most keep-alive connections for submissions; opened as needed",
    ),
    Option(
        "--timeout",
        "timeout_s",
        "SECONDS",
        "seconds (or 500ms, 1m) after which an answer counts as lost",
    ),
    Option("--seed", "seed", "N", "decides the arrival schedule and the choice of users"),
    Option(
        "--late-limit",
        "late_limit_ms",
        "MS",
        "ms (or 0.1s): the run is void when p99 of the generator's own delay is above",
    ),
    Option(
        "--target",
        "target",
        "FILE",
        "a target file (docs/targets.md): a server with other paths, names, tokens, users or TLS; "
        "--host replaces the address in it",
    ),
    Option(
        "--reads",
        "reads",
        "PROFILE",
        "reads of the board besides, GET /scores in open loop: 200/s, or any profile of --rate",
    ),
    *(Option(*row) for row in TRAFFIC_OPTIONS),
    Option(
        "--server-pid",
        "server_pid",
        "PID,…",
        "processes of the server whose CPU is measured; default: who listens at a loopback address",
    ),
    Option("--server-name", "server_name", "NAME", "the same by program name"),
    Option(
        "--mysql-url",
        "mysql_url",
        "URL",
        "read the ledger for the verdict; default: that of the running stack",
    ),
    Option(
        "--signing-key",
        "signing_key",
        "ID:FILE",
        "sign every submission (RFC 9421) with this key; FILE holds a shared secret in "
        "base64 (HMAC-SHA256) or an Ed25519 private key in PEM",
    ),
    Option("--stream-auth", "stream_auth", "", "every listener sends the token of a player"),
    Option("--stream-gzip", "stream_gzip", "", "every listener accepts gzip, as browsers do"),
    Option(
        "--label",
        "label",
        "NAME",
        "a name for the run, in its report and in the name of its result file",
    ),
    Option("--results", "results", "FOLDER", "folder for result files"),
)
_FLAGS = {option.name: option.flag for option in OPTIONS}


def _seconds(value: str) -> float:
    return parse_seconds(value)


def _milliseconds(value: str) -> float:
    return 1000 * parse_seconds(value, bare="ms")


def _slo(value: str) -> str:
    # Files are read here and once: the run may end where they are gone, or changed.
    return with_defaults(value)


def _mysql_url(value: str) -> str:
    if value:
        mysql_address(value)
    return value


_PARSERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("players", "listeners", "connections", "seed"), parse_whole),
    **dict.fromkeys(("duration_s", "warmup_s", "timeout_s", *TRAFFIC_DURATIONS), _seconds),
    "late_limit_ms": _milliseconds,
    "slo": _slo,
    "mysql_url": _mysql_url,
    "trace_speed": parse_speed,
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add every option of a run to Locust's parser.

    The values stay text until `settings_from`: Locust's web form keeps the type of a default, so
    text is what lets `10s` be typed there. Its command line has nobody who would call
    `settings_from` at once, so the parser itself refuses.
    """
    for option in OPTIONS:
        is_flag = isinstance(option.default, bool)
        kind: dict[str, Any] = {
            "type": _checked(option.name),
            "metavar": option.metavar,
            "choices": option.choices,
        }
        parser.add_argument(
            option.flag,
            dest=f"scoreboard_{option.name}",
            default=option.default,
            help=option.help.replace("%", "%%"),
            # Only Locust's parser knows `env_var`.
            env_var=PREFIX + option.flag[2:].upper().replace("-", "_"),
            **({"action": "store_true"} if is_flag else kind),
        )


def _checked(name: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        try:
            if name in _PARSERS:
                _PARSERS[name](value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return value

    return check


def settings_from(values: Mapping[str, Any]) -> RunSettings:
    """Settings from parsed options, as text or as values. Raises BadSettings with every fault."""
    known = {field.name for field in fields(RunSettings)}
    given = {
        name: value
        for key, value in values.items()
        if (name := key.removeprefix("scoreboard_")) != key and name in known and value is not None
    }
    read, faults = {}, []
    for name, value in given.items():
        try:
            if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
                raise ValueError(f"{value!a} is no UTF-8 text: set a UTF-8 locale (LC_ALL=C.UTF-8)")
            unread = isinstance(value, str) and name in _PARSERS
            read[name] = _PARSERS[name](value) if unread else value
        except ValueError as error:
            faults += [f"{_FLAGS[name]}: {line}" for line in str(error).splitlines()]
    if read.get("trace"):
        typed = {option.name: option.default for option in OPTIONS}
        try:
            asked = {name for name, v in given.items() if v != typed[name]}
            read = settled({"warmup_s": RunSettings().warmup_s, **read}, asked=asked)
        except BadTrace as error:
            del read["trace"]
            faults.append(f"--trace: {error}")
    if not _submits(read.get("rate", RunSettings().rate)):
        read["slo"] = _without_defaults(read.get("slo", ""))
    if faults:
        # Whether a limit is within reach depends on the options that could not be read.
        read.pop("slo", None)
    try:
        settings = RunSettings(**read)
    except BadSettings as error:
        faults += str(error).splitlines()
    if faults:
        raise BadSettings("\n".join(faults))
    return settings


def _submits(rate: str) -> bool:
    try:
        return parse_profile(rate).submits
    except BadProfile:
        return True


def _without_defaults(slo: str) -> str:
    """The limits that were asked for: the default ones are shares of what is submitted."""
    try:
        return canonical(limit for limit in load_slo(slo) if limit not in DEFAULT_LIMITS)
    except BadSlo:
        return slo


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
