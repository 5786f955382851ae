"""How far the board has come while a run goes on, written down as reads of the history."""

import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from harness.evidence.board_look import Look, last_look
from harness.evidence.history_writer import BoardJournal
from harness.measure.series import Series
from harness.net.preflight import HINTS, SIGNED_HINT
from harness.net.target import Page, Target, get_scores
from harness.run.worker_state import Member
from scoreboard.contract import TOP_DEFAULT

GONE_S = 10.0
"""A server that answers nothing for this long has gone."""
REFUSED_MIN = 50
"""Refusals, and nothing else, after which a run ends early."""
CACHED_S = 10.0
"""How long a board at rest may be that of a cache."""
NOWHERE = Look(seq=-1, scores=None)
"""The board of a server that does not show all of it, or of which nothing is known."""
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

    @property
    def problem(self) -> str:
        """Why the history of it is not whole; empty while it is."""
        return self._journal.problem

    def look(self, second: int) -> None:
        """Note how far the board is; a server that does not answer leaves out this second."""
        try:
            seq = self._read().seq
            if seq >= 0:
                self.backlog.append((second, seq))
        except OSError as error:
            log.debug("no look at the backlog: %s", error)

    def settle(self, expected: int, *, timeout_s: float, pause: Callable[[], bool]) -> int:
        """Wait until every acknowledged submission should be on the board; the last seq, or -1.

        `pause` lets time pass, and says whether to go on waiting.
        """
        seen = -1
        steady_since = answered = time.monotonic()
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            try:
                page: Page | None = self._read()
            except OSError:
                page = None
            now = time.monotonic()
            if page is None:
                if now - answered > GONE_S:
                    break
            else:
                answered = now
                if page.seq != seen:
                    seen, steady_since = page.seq, now
                if now - steady_since > (STEADY_S if seen >= expected else STUCK_S):
                    break
            if not pause():
                break
        return seen

    def settle_by_content(
        self,
        shown: Callable[[], tuple[bool, object]],
        *,
        timeout_s: float,
        pause: Callable[[], bool],
    ) -> bool:
        """Wait until listeners were shown everything acknowledged, and nothing more comes.

        `shown` says whether they were, and something that changes with whatever comes. False when
        it did not come to rest in time: what lacks is then not lost, but late.
        """
        seen: object = None
        steady_since = time.monotonic()
        end = steady_since + timeout_s
        while time.monotonic() < end:
            rows: object = None
            with contextlib.suppress(OSError):
                rows = tuple(self._read().rows)
            whole, newest = shown()
            now = time.monotonic()
            if (newest, rows) != seen:
                seen, steady_since = (newest, rows), now
            if now - steady_since > (STEADY_S if whole else STUCK_S):
                return True
            if not pause():
                return False
        return False

    def until_board_agrees(
        self, latest: Mapping[str, Collection[int]], *, pause: Callable[[], bool]
    ) -> str:
        """Read the board until it shows the last scores that listeners were shown, or for
        CACHED_S: it may be cached. Why it could not be read, or nothing.
        """
        end = time.monotonic() + CACHED_S
        while True:
            try:
                rows, unread = self._read().rows, ""
            except OSError as error:
                rows, unread = [], str(error) or type(error).__name__
            agrees = all(score in latest.get(name, (score,)) for name, score in rows)
            # A board without players is whole where no event named one.
            told = rows or not (latest or unread)
            if (told and agrees) or time.monotonic() > end or not pause():
                return unread

    def close(
        self,
        crew: Sequence[Member],
        players: int,
        final_seq: int,
        *,
        converged: bool,
        by_content: bool,
        pause: Callable[[], bool],
    ) -> Look:
        """Look at the board for the last time and close the history with it; what was seen."""
        after = NOWHERE
        if by_content:
            unread = self.until_board_agrees(latest_of(crew), pause=pause)
            closing = closing_by_content(crew, settled=converged, unread=unread)
        else:
            after, unread = last_look(self._target, players)
            closing = closing_of(crew, final_seq, after, converged=converged, unread=unread)
        self._journal.close(**closing)
        return after

    def _read(self) -> Page:
        return self._journal.read(lambda limit: get_scores(self._target, limit=limit), TOP_DEFAULT)


def refused_alike(series: Series, *, signed: bool = False) -> str:
    """Why a run cannot go on as it is: all submissions so far had one answer, a 4xx. Else empty.

    `signed` is whether a signing key was given. Refusals with 5xx may end when the server
    recovers, and are figures of it.
    """
    refused = series.total("fail")
    if refused < REFUSED_MIN or series.total("ok") or series.total("unknown"):
        return ""
    statuses = {
        name.removeprefix("status_"): series.total(name)
        for name in series.names()[0]
        if name.startswith("status_4")
    }
    [*codes] = (code for code, count in statuses.items() if count)
    if len(codes) != 1:
        return ""
    hint = HINTS.get(int(codes[0]), "look at the server's log")
    if signed and codes[0] == "401":
        hint = SIGNED_HINT
    return f"all {refused:,} submissions were refused with {codes[0]}, so the run ended: {hint}"


def closing_of(
    crew: Sequence[Member], final_seq: int, after: Look, *, converged: bool, unread: str = ""
) -> dict[str, Any]:
    """What the history is closed with: the last board, and whether the run ended as planned.

    `crew` is whoever had work, also those that were lost meanwhile; `unread` is why there is no
    last board.
    """
    kinds = {member.kind for member in crew}
    reasons = []
    if "listeners" in kinds and not converged and final_seq >= 0:
        reasons.append(f"the listeners did not all reach the last change, {final_seq}")
    if unread:
        reasons.append(f"the board could not be read at the end: {unread}")
    elif final_seq < 0:
        reasons.append("the server did not answer while the last submissions were waited for")
    elif after.seq != final_seq:
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
            "submissions": "submitters" in kinds,
            "listeners": "listeners" in kinds,
        },
    }


def latest_of(crew: Sequence[Member]) -> dict[str, set[int]]:
    """The last score of each name, as the listeners of each process were shown it."""
    scores: defaultdict[str, set[int]] = defaultdict(set)
    for member in crew:
        for name, (_, score) in member.latest.items():
            scores[name].add(score)
    return scores


def shown_to(pools: Sequence[Member], series: Series) -> tuple[bool, object]:
    """Whether every listener was shown as many events as were acknowledged, and what changes as
    long as events come. A listener that comes after that may be sent the whole board once more."""
    events = [int(member.status.get("events", 0)) for member in pools]
    behind = sum(int(member.status.get("behind", 0)) for member in pools)
    whole = all(count >= series.total("ok") for count in events) and not behind
    return whole, (tuple(events), behind, 0 if whole else series.total("deliveries"))


def closing_by_content(
    crew: Sequence[Member], *, settled: bool, unread: str = ""
) -> dict[str, Any]:
    """What the history is closed with where events have no ids to follow."""
    kinds = {member.kind for member in crew}
    reasons = [] if settled else ["events still came, or the run was ended, before it was at rest"]
    if unread:
        reasons.append(f"the board could not be read at the end: {unread}")
    return {
        "drained": settled,
        "about": {
            "reasons": reasons,
            "processes": [member.name for member in crew],
            "submissions": "submitters" in kinds,
            "listeners": "listeners" in kinds,
        },
    }
