"""How far the board has come while a run goes on, written down as reads of the history."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from harness.evidence.board_look import Look
from harness.evidence.history_writer import BoardJournal
from harness.net.target import Page, Target, get_scores
from harness.run.worker_state import Member
from scoreboard.contract import TOP_DEFAULT

log = logging.getLogger(__name__)
STEADY_S = 1.0
"""How long the expected seq must stand: submissions whose answers were lost may still be applied a
moment later."""
STUCK_S = 15.0
"""After this long without progress what is still lacking is taken for lost. Longer than one
attempt of a workflow's activity and the pause before the next."""


class BoardWatch:
    """Looks at the board of one server. `backlog` has (second of the schedule, seq)."""

    def __init__(self, target: Target, journal: BoardJournal) -> None:
        self._target = target
        self._journal = journal
        self.backlog: list[tuple[int, int]] = []

    def look(self, second: int) -> None:
        """Note how far the board is; a server that does not answer leaves out this second."""
        try:
            self.backlog.append((second, self._read().seq))
        except OSError as error:
            log.debug("no look at the backlog: %s", error)

    def settle(self, expected: int, *, timeout_s: float, pause: Callable[[], None]) -> int:
        """Wait until every acknowledged submission should be on the board; the last seq, or -1."""
        seen = -1
        steady_since = time.monotonic()
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            try:
                page: Page | None = self._read()
            except OSError:
                page = None
            now = time.monotonic()
            if page is not None:
                if page.seq != seen:
                    seen, steady_since = page.seq, now
                if now - steady_since > (STEADY_S if seen >= expected else STUCK_S):
                    break
            pause()
        return seen

    def _read(self) -> Page:
        return self._journal.read(lambda limit: get_scores(self._target, limit=limit), TOP_DEFAULT)


def closing_of(
    crew: Sequence[Member], final_seq: int, after: Look, *, converged: bool
) -> dict[str, Any]:
    """What the history is closed with: the last board, and whether the run ended as planned.

    `crew` is whoever had work, also those that were lost meanwhile.
    """
    kinds = {member.kind for member in crew}
    reasons = []
    if "swarm" in kinds and not converged:
        reasons.append(f"the listeners did not all reach the last change, {final_seq}")
    if after.seq != final_seq:
        reasons.append(
            f"the board moved from {final_seq} to {after.seq} while listeners were compared"
        )
    whole = after.scores is not None and after.seq >= 0 and not after.from_mysql
    return {
        "drained": final_seq >= 0 and after.seq == final_seq,
        "board": (after.seq, after.scores) if whole else None,
        "about": {
            "reasons": reasons,
            "processes": [member.name for member in crew],
            "submissions": "flood" in kinds,
            "listeners": "swarm" in kinds,
        },
    }
