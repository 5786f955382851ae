"""What `python -m stack up` was asked to do: ports, addresses given, folders.

Built once from the command line and the environment; the processes' own settings are handed on
through their environment, not read here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PORT_DEFAULT = 3000
ADDRESS_VARIABLES = {
    "mysql": "SCOREBOARD_MYSQL_URL",
    "redis": "SCOREBOARD_REDIS_URL",
    "temporal": "SCOREBOARD_TEMPORAL_ADDRESS",
}

TEMPORAL_SERVER_VARIABLE = "SCOREBOARD_TEMPORAL_SERVER"
DEVELOPMENT, CLUSTER = "development", "cluster"
"""What a private Temporal may be: one process, or `stack.temporal_cluster`."""

TEMPORAL_SECURITY = (
    "SCOREBOARD_TEMPORAL_TLS",
    "SCOREBOARD_TEMPORAL_TLS_CA",
    "SCOREBOARD_TEMPORAL_TLS_CERT",
    "SCOREBOARD_TEMPORAL_TLS_KEY",
    "SCOREBOARD_TEMPORAL_API_KEY",
)
"""Variables that secure the connection to a given Temporal. A private one uses plain loopback."""


@dataclass(frozen=True, kw_only=True)
class StackSettings:
    """One supervisor's settings. `ports` holds only those fixed by hand; 0 is "any free one"."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = PORT_DEFAULT
    ports: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    users: int = 0
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def temporal_is_cluster(self) -> bool:
        """Whether a private Temporal is one of several processes, not the development server."""
        return self.environment.get(TEMPORAL_SERVER_VARIABLE) == CLUSTER

    @property
    def first_host(self) -> str:
        """The first TCP address that the server listens on; empty without one."""
        names = (part.strip() for part in self.host.split(","))
        name = next((name for name in names if not name.startswith("unix:")), "")
        return "0.0.0.0" if name == "*" else name

    @property
    def near_host(self) -> str:
        """The address by which this machine reaches the server."""
        host = self.first_host
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)

    @property
    def base_path(self) -> str:
        """The path under which the server answers."""
        return self.environment.get("SCOREBOARD_BASE_PATH", "").strip().rstrip("/")

    @property
    def base_url(self) -> str:
        """The server's URL for a client on this machine."""
        host = f"[{self.near_host}]" if ":" in self.near_host else self.near_host
        return f"http://{host}:{self.port}{self.base_path}"

    def address(self, role: str, service: str) -> str | None:
        """The address that overrides `service` for `role` (fault proxies), if one is given."""
        variable = ADDRESS_VARIABLES[service].replace("SCOREBOARD_", f"SCOREBOARD_{role.upper()}_")
        return self.environment.get(variable)


def data_dir(environment: Mapping[str, str]) -> Path:
    """The data folder: SCOREBOARD_DATA_DIR, else `.scoreboard` in the working directory."""
    return Path(environment.get("SCOREBOARD_DATA_DIR") or ".scoreboard").absolute()


def given_addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """Addresses of services that run elsewhere, by name; the stack does not start those."""
    return {
        name: environment[variable]
        for name, variable in ADDRESS_VARIABLES.items()
        if environment.get(variable)
    }
