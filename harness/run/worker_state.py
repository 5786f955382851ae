"""A Locust user as the conductor knows it: where it runs and the last it said. Not the user."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Member:
    """One Locust user that joined. `final` once its last report is there."""

    ident: str
    kind: str
    pid: int
    host: str
    client_id: str | None = None
    name: str = ""
    history_bytes: int = 0
    status: dict[str, Any] = field(default_factory=dict)
    latest: dict[str, list[int]] = field(default_factory=dict)
    reach: dict[str, Any] = field(default_factory=dict)
    final: bool = False

    def hear(self, report: Mapping[str, Any]) -> None:
        """Keep what a report says of the user itself.

        It goes on to report each second after its last word, and only that knows
        the target its listeners are measured against; so that stands.
        """
        if self.final:
            return
        if report["status"]:
            self.status = report["status"]
        if report.get("final"):
            self.latest = report.get("latest", {})
            self.reach = report.get("reach", {})
            self.history_bytes = report.get("history_bytes", 0)
            self.final = True
