"""Whether this process takes work and is ready for more. Not the checks themselves: see `health`.

Readiness fails first in a shutdown (`draining`); submissions are refused only when the notice to
load balancers is over (`refusing`).
"""

from adapters.health import Health
from adapters.health.clocks import CLOCK
from scoreboard.errors import UNAVAILABLE, Problem
from server.board.position import BoardPosition

RETRY_AFTER_S = 1


class Availability:
    """Read by the handlers; `draining` and `refusing` are set by the shutdown."""

    def __init__(self, health: Health, position: BoardPosition) -> None:
        self._health = health
        self._position = position
        self.draining = False
        self.refusing = False

    @property
    def missing(self) -> tuple[str, ...]:
        """What this process waits for before it can work; nothing when it can."""
        unavailable = self._health.unavailable
        if not unavailable and not self._position.known:
            return ("board",)
        return unavailable

    def takes_work(self) -> bool:
        """Whether submissions are taken now."""
        return not (self.refusing or self._health.unavailable)

    def require_work_taken(self) -> None:
        """Raises Problem (unavailable) unless submissions are taken now."""
        if not self.takes_work():
            raise Problem(UNAVAILABLE, "A backend is unavailable.", retry_after_s=RETRY_AFTER_S)

    def require_true_clock(self) -> None:
        """Raises Problem (unavailable) while a fresh token would be refused for its times."""
        if CLOCK in self._health.unavailable:
            raise Problem(UNAVAILABLE, "This server's clock is wrong.", retry_after_s=RETRY_AFTER_S)

    def require_ready(self) -> None:
        """Raises Problem (unavailable) that names what is missing."""
        parts = (*self._health.unavailable, "draining") if self.draining else self.missing
        if parts:
            raise Problem(
                UNAVAILABLE,
                f"Not ready: {', '.join(parts)}.",
                retry_after_s=RETRY_AFTER_S,
                members={"parts": parts},
            )
