"""Settings of the API process; read from the environment in `__main__` only."""

import re
from dataclasses import dataclass

from scoreboard import contract
from scoreboard.keys import parse_jwks
from scoreboard.ratelimit import RateLimit
from scoreboard.settings import (
    ServiceSettings,
    flag,
    non_negative_int,
    non_negative_seconds,
    port_number,
    positive_int,
    positive_seconds,
    secret_bytes,
    setting,
)
from scoreboard.tokens import AUDIENCE, ISSUER, TokenPolicy
from server.auth.jwks import jwks_sources
from server.auth.origins import origins
from server.auth.signatures import parse_key_file
from server.backends.listen import listen_addresses

BATCH_INTERVAL_MAX_S = 1.0


def batch_size(value: str) -> int:
    """Submissions in one batch: from 1 to the bound of one workflow."""
    number = positive_int(value)
    if number > contract.MAX_BATCH:
        raise ValueError(f"must be a whole number from 1 to {contract.MAX_BATCH}")
    return number


def batch_interval(value: str) -> float:
    """Seconds between batches; a longer wait would take too much of a submission's time."""
    seconds = non_negative_seconds(value)
    if seconds > BATCH_INTERVAL_MAX_S:
        raise ValueError(f"must be a number of seconds from 0 to {BATCH_INTERVAL_MAX_S:g}")
    return seconds


def jwks_setting(value: str) -> str:
    """Sources of public keys, as they stand."""
    jwks_sources(value)
    return value


def secrets_bytes(value: str) -> tuple[bytes, ...]:
    """Shared secrets separated by blanks."""
    return tuple(secret_bytes(each) for each in value.split())


def listed(value: str) -> tuple[str, ...]:
    """Texts separated by commas."""
    found = tuple(part.strip() for part in value.split(","))
    if not all(found):
        raise ValueError("must be texts separated by commas")
    return found


def proxies_header(value: str) -> str:
    """The field that our proxies write."""
    if value.lower() not in ("x-forwarded-for", "forwarded"):
        raise ValueError("must be X-Forwarded-For or Forwarded")
    return value.lower()


def base_path(value: str) -> str:
    """A path to serve everything under, without the slash at its end."""
    path = value.rstrip("/")
    if re.fullmatch(r"(?:/[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*)*", path) is None:
        raise ValueError("must look like /board")
    return path


@dataclass(frozen=True, kw_only=True)
class ServerSettings(ServiceSettings):
    """Settings of an API process beyond the addresses of the services."""

    jwt_secret: bytes = setting(
        "SCOREBOARD_JWT_SECRET",
        secret_bytes,
        "Secret that signs tokens (HS256), at least 32 bytes; required unless there is a JWKS",
        b"",
        secret=True,
    )
    jwt_secrets_previous: tuple[bytes, ...] = setting(
        "SCOREBOARD_JWT_SECRETS_PREVIOUS",
        secrets_bytes,
        "Earlier secrets, separated by blanks: tokens signed with one stay valid",
        (),
        secret=True,
    )
    jwks: str = setting(
        "SCOREBOARD_JWKS",
        jwks_setting,
        "Files or URLs of public keys for tokens (RS256 to RS512, PS256 to PS512, ES256 to ES512,"
        " EdDSA), separated by blanks. `issuer|URL`: these keys prove tokens of that issuer only",
        "",
        files=lambda value: [each.place for each in jwks_sources(value) if not each.is_address],
        judge=parse_jwks,
    )
    jwks_interval_s: float = setting(
        "SCOREBOARD_JWKS_INTERVAL_S", positive_seconds, "Seconds between reloads of the JWKS", 300.0
    )
    jwks_max_age_s: float = setting(
        "SCOREBOARD_JWKS_MAX_AGE_S",
        positive_seconds,
        "Seconds after which keys whose JWKS can no longer be read prove nothing",
        86400.0,
    )
    token_issuers: tuple[str, ...] = setting(
        "SCOREBOARD_TOKEN_ISSUERS", listed, "Allowed `iss`, separated by commas", (ISSUER,)
    )
    token_audiences: tuple[str, ...] = setting(
        "SCOREBOARD_TOKEN_AUDIENCES",
        listed,
        "Allowed `aud`, separated by commas; a token's list needs one of them",
        (AUDIENCE,),
    )
    token_types: tuple[str, ...] = setting(
        "SCOREBOARD_TOKEN_TYPES",
        listed,
        "Allowed `typ`, separated by commas, in any case; tokens without one pass",
        ("JWT", "at+jwt"),
    )
    token_user_claim: str = setting(
        "SCOREBOARD_TOKEN_USER_CLAIM",
        str,
        "Claim that holds the user's id; a name, or a path with dots",
        "sub",
    )
    token_scope_claims: tuple[str, ...] = setting(
        "SCOREBOARD_TOKEN_SCOPE_CLAIMS",
        listed,
        "Claims that hold scopes, as text or list, separated by commas; names, or paths with dots",
        ("scope", "scp", "permissions"),
    )
    signature_keys: str = setting(
        "SCOREBOARD_SIGNATURE_KEYS",
        str,
        "File of keys for signed requests (RFC 9421)",
        "",
        files=lambda path: [path],
        judge=parse_key_file,
    )
    signature_authorities: tuple[str, ...] = setting(
        "SCOREBOARD_SIGNATURE_AUTHORITIES",
        listed,
        "Names of this deployment that signed requests may be for, like `board.example`, separated"
        " by commas; default: the address a connection came in by, and localhost",
        (),
    )
    signatures_required: bool = setting(
        "SCOREBOARD_SIGNATURES_REQUIRED", flag, "Refuse submissions that are not signed", False
    )
    host: str = setting(
        "SCOREBOARD_HOST",
        listen_addresses,
        "Addresses to listen on, separated by commas: an IP address, a name, `*` for all of both"
        " families, or `unix:/path` for a Unix domain socket",
        "127.0.0.1",
    )
    port: int = setting("SCOREBOARD_PORT", port_number, "Port to listen on; 0 takes any", 3000)

    base_path: str = setting(
        "SCOREBOARD_BASE_PATH",
        base_path,
        "Path under which everything is served, like `/board`; for a proxy that hands paths on"
        " unchanged",
        "",
    )

    reuse_port: bool = setting(
        "SCOREBOARD_REUSE_PORT",
        flag,
        "Share the port with other API processes (SO_REUSEPORT): a new one listens once it is"
        " ready, a stopping one closes its listening socket first",
        False,
    )

    rate_limit_count: int = setting(
        "SCOREBOARD_RATE_LIMIT_COUNT",
        positive_int,
        "Maximum submissions for one user in any window",
        100,
    )
    rate_limit_window_s: float = setting(
        "SCOREBOARD_RATE_LIMIT_WINDOW_S", positive_seconds, "Length of that window in seconds", 10.0
    )
    replay_limit_factor: int = setting(
        "SCOREBOARD_REPLAY_LIMIT_FACTOR",
        positive_int,
        "Repeats of known idempotency keys are free, up to this many times the rate limit",
        10,
    )

    batch_max: int = setting(
        "SCOREBOARD_BATCH_MAX", batch_size, "Maximum submissions per batch", contract.MAX_BATCH
    )
    batches_in_flight: int = setting(
        "SCOREBOARD_BATCHES_IN_FLIGHT",
        positive_int,
        "Maximum batches that are handed to Temporal at a time",
        1,
    )
    batches_running: int = setting(
        "SCOREBOARD_BATCHES_RUNNING",
        positive_int,
        "Batches under way while they end on time; fewer make them larger",
        8,
    )
    batch_interval_s: float = setting(
        "SCOREBOARD_BATCH_INTERVAL_S",
        batch_interval,
        "Least seconds from the start of one batch to that of the next, unless that is full: fewer"
        " batches cost less CPU, and responses wait half of it longer",
        0.0,
    )
    batches_unfinished: int = setting(
        "SCOREBOARD_BATCHES_UNFINISHED",
        positive_int,
        "Maximum batches under way when none ends, as without a worker; at this bound"
        " submissions wait",
        16,
    )
    queue_max: int = setting(
        "SCOREBOARD_QUEUE_MAX",
        positive_int,
        "Maximum submissions waiting for a batch; more get 503",
        5000,
    )
    submit_timeout_s: float = setting(
        "SCOREBOARD_SUBMIT_TIMEOUT_S",
        positive_seconds,
        "Seconds that a submission may wait for its response before it gets 503",
        5.0,
    )

    listeners_max: int = setting(
        "SCOREBOARD_LISTENERS_MAX",
        positive_int,
        "Maximum event streams; more get 503",
        20000,
    )
    heartbeat_s: float = setting(
        "SCOREBOARD_HEARTBEAT_S",
        positive_seconds,
        "Maximum silence on an event stream, in seconds",
        12.0,
    )
    tick_max_s: float = setting(
        "SCOREBOARD_TICK_MAX_S",
        positive_seconds,
        "Maximum flush interval in seconds, with few listeners; grows with the cost of writing",
        0.1,
    )
    history_changes: int = setting(
        "SCOREBOARD_HISTORY_CHANGES",
        positive_int,
        "Changes in the ring buffer, for listeners that reconnect",
        20000,
    )
    lagging_max_s: float = setting(
        "SCOREBOARD_LAGGING_MAX_S",
        positive_seconds,
        "Seconds that a slow listener may lag before it is disconnected",
        30.0,
    )
    stream_gzip: bool = setting(
        "SCOREBOARD_STREAM_GZIP",
        flag,
        "Compress event streams, once for all listeners that accept gzip",
        True,
    )
    stream_origins: tuple[str, ...] = setting(
        "SCOREBOARD_STREAM_ORIGINS",
        origins,
        "Origins whose pages may use the API: open event streams, read and submit; separated by"
        " commas; `*`: all. The server's own origin is always allowed",
        (),
    )
    stream_auth_required: bool = setting(
        "SCOREBOARD_STREAM_AUTH_REQUIRED",
        flag,
        "Refuse event streams without a token, a cookie or a ticket",
        False,
    )
    streams_per_address: int = setting(
        "SCOREBOARD_STREAMS_PER_ADDRESS",
        non_negative_int,
        "Maximum event streams per address (IPv6: per /64 network), over all API processes; 0: off."
        " Without Redis each process counts its own",
        0,
    )
    streams_per_user: int = setting(
        "SCOREBOARD_STREAMS_PER_USER",
        non_negative_int,
        "Maximum event streams per token subject, over all API processes; 0: off",
        100,
    )
    stream_lease_s: float = setting(
        "SCOREBOARD_STREAM_LEASE_S",
        positive_seconds,
        "Seconds after which the event streams of a killed API process no longer count",
        15.0,
    )
    proxies_count: int = setting(
        "SCOREBOARD_PROXIES_COUNT",
        non_negative_int,
        "Your own proxies in front, each adding to X-Forwarded-For; 0: ignore that header",
        0,
    )
    proxies_header: str = setting(
        "SCOREBOARD_PROXIES_HEADER",
        proxies_header,
        "Header that these proxies add to: X-Forwarded-For, or Forwarded (RFC 7239)",
        "x-forwarded-for",
    )

    request_timeout_s: float = setting(
        "SCOREBOARD_REQUEST_TIMEOUT_S",
        positive_seconds,
        "Seconds within which a request's header and body must arrive",
        10.0,
    )
    keep_alive_s: float = setting(
        "SCOREBOARD_KEEP_ALIVE_S", positive_seconds, "Seconds that a connection may stay idle", 75.0
    )
    drain_notice_s: float = setting(
        "SCOREBOARD_DRAIN_NOTICE_S",
        non_negative_seconds,
        "Seconds between failing readiness and refusing work at shutdown",
        0.0,
    )
    drain_timeout_s: float = setting(
        "SCOREBOARD_DRAIN_TIMEOUT_S",
        positive_seconds,
        "Seconds that shutdown waits for work in flight",
        8.0,
    )
    health_interval_s: float = setting(
        "SCOREBOARD_HEALTH_INTERVAL_S",
        positive_seconds,
        "Seconds between health checks of the services",
        1.0,
    )
    metrics_open: bool = setting(
        "SCOREBOARD_METRICS_OPEN",
        flag,
        "Make /metrics and /admin/stats public; otherwise they need a token with scores:operate",
        True,
    )

    def conflicts(self) -> list[str]:
        """Settings that do not go together, one sentence each, with the variable first."""
        found = super().conflicts()
        if not self.jwt_secret and not self.jwks:
            found.append(
                "SCOREBOARD_JWT_SECRET is missing (or give SCOREBOARD_JWKS): nobody could submit"
            )
        if self.signatures_required and not self.signature_keys:
            found.append("SCOREBOARD_SIGNATURE_KEYS is missing: every signature would fail")
        return found

    @property
    def token_policy(self) -> TokenPolicy:
        """What is asked of a token."""
        return TokenPolicy(
            issuers=frozenset(self.token_issuers)
            | {source.issuer for source in jwks_sources(self.jwks) if source.issuer},
            audiences=frozenset(self.token_audiences),
            types=frozenset(each.lower() for each in self.token_types),
            user_claim=self.token_user_claim,
            scope_claims=self.token_scope_claims,
        )

    @property
    def rate_limit(self) -> RateLimit:
        """The limit on new submissions for one user."""
        return RateLimit(
            count=self.rate_limit_count, window_us=int(self.rate_limit_window_s * 1_000_000)
        )

    @property
    def replay_limit(self) -> RateLimit:
        """The limit on repeats for one user."""
        return RateLimit(
            count=self.rate_limit_count * self.replay_limit_factor,
            window_us=int(self.rate_limit_window_s * 1_000_000),
        )
