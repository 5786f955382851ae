"""The top ten as it was read, against the scores that events showed. Pure.

Reads have no number that says which changes they hold, so none can be called late while scores
change: each row must be a score that was shown, and at rest the board must be that of the last
events.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise

from harness.checker.by_content.chains import Base, Chain
from harness.checker.by_content.sightings import Shown
from harness.checker.evidence import BoardRead, Evidence
from harness.evidence.history import Outcome

FULL = 10
"""Rows of a board that may leave somebody out."""
AROUND_NS = 2_000_000_000
"""Events this near to a read may show a score that the board had then."""


def full_of(evidence: Evidence) -> int:
    """Rows of a board that may leave somebody out: ten, or on a board of its own kind as many as it
    ever showed."""
    if not evidence.own_page:
        return FULL
    return min(FULL, max((len(read.scores) for read in evidence.reads), default=0) or FULL)


def bases_of(
    reads: Sequence[BoardRead],
    names: Sequence[str],
    first_ns: int,
    alike: Collection[str],
    *,
    full: int,
) -> dict[str, Base]:
    """What the last board that was read before `first_ns` tells of each name's score: nothing of
    names that several users have."""
    early = [read for read in reads if read.done_ns <= first_ns and read.offset == 0]
    if not early:
        return {}
    rows = early[-1].scores
    # A board with room left has everybody who has any points.
    most = min((score for _, score in rows), default=0) if len(rows) >= full else 0
    known, last = dict(rows), dict(reads[-1].scores)
    lowest = min(last.values()) if len(reads[-1].scores) >= full else None
    return {
        name: Base()
        if name in alike
        else Base(
            known=known.get(name),
            most=most,
            stands=name in known and known[name] == last.get(name),
            displaced=lowest is not None and known.get(name, lowest + 1) <= lowest,
        )
        for name in names
    }


def vanished_of(reads: Sequence[BoardRead], names: Collection[str]) -> dict[str, int]:
    """Who stood on the first board, was never shown by an event, and is not on the last board."""
    if not reads:
        return {}
    last = {name for name, _ in reads[-1].scores}
    return {n: score for n, score in reads[0].scores if n not in last and n not in names}


def called_alike(reads: Sequence[BoardRead], roster: Mapping[int, str]) -> set[str]:
    """Names that several users have: some board shows them twice, or the roster does."""
    lists = [[name for name, _ in read.scores] for read in reads]
    return {
        name
        for names in (*lists, roster.values())
        for name, count in Counter(names).items()
        if count > 1
    }


def disorder_of(read: BoardRead) -> str:
    """What is wrong with a board whatever the scores are; empty for nothing."""
    for (one, higher), (other, lower) in pairwise(read.scores):
        if lower > higher:
            return f"shows {other} with {lower} below {one} with {higher}"
    return ""


def unshown_rows(
    reads: Sequence[BoardRead], chains: Sequence[Chain], events: Mapping[str, Sequence[Shown]]
) -> Iterator[tuple[BoardRead, str, int]]:
    """Rows of names whose events are explained wholly, with a score that no event showed."""
    clean = {
        chain.name: chain for chain in chains if not chain.cost and not chain.left and chain.shown
    }
    for chain in chains:
        if clean.get(chain.name) not in (None, chain):
            # Two users of one name: nobody knows whose row it is.
            del clean[chain.name]
    # A renamed user's earlier events had the earlier name.
    scores = {
        name: {event.score for event in (*events[name], *(shown for _, shown in chain.shown))}
        for name, chain in clean.items()
    }
    for read in reads:
        for name, score in read.scores:
            chain_of = clean.get(name)
            if chain_of is not None and score not in scores[name] and score != chain_of.base:
                yield read, name, score


def may_be_namesake(
    read: BoardRead, shown: Sequence[Shown], base: int | None, *, full: int
) -> bool:
    """Whether a row may be that of another user of the name: the board has no room for the score
    that the one had whose events were shown. `base` is the score before the first of them."""
    lowest = min((score for _, score in read.scores), default=0)
    if len(read.scores) < full:
        return False
    early = [e for e in shown if e.time_ns < read.invoked_ns - AROUND_NS]
    near = [e.score for e in shown[len(early) :] if e.time_ns <= read.done_ns + AROUND_NS]
    before = early[-1].score if early else base
    return before is None or min([before, *near]) <= lowest


def difference_at_rest(
    read: BoardRead,
    last: Mapping[str, int],
    possible: Mapping[str, frozenset[int]],
    strangers: Collection[str] = (),
    *,
    full: int = FULL,
) -> Iterator[tuple[str, str]]:
    """How the last board differs from the last scores shown: whose row is wrong (empty where one
    lacks), and how.

    `possible` are further scores that a name may have, where answers are lacking. The row of a
    stranger may be that of a user who is called alike.
    """
    shown = dict(read.scores)
    for name, score in read.scores:
        if name in strangers or name not in last:
            continue
        if score != last[name] and score not in possible.get(name, ()):
            yield name, f"shows {name} with {score}, the last event of {name} showed {last[name]}"
    lowest = min((score for _, score in read.scores), default=None)
    # A user who was renamed after the last event stands there under a name that no event showed, or
    # under one whose events fit nobody.
    elsewhere = {score for name, score in read.scores if name not in last}
    unclaimed = sum(name in strangers for name, _ in read.scores)
    for name, score in sorted(last.items(), key=lambda pair: -pair[1]):
        if (
            name in shown
            or score in elsewhere
            or (possible.get(name) and min(possible[name]) <= (lowest or 0))
        ):
            continue
        if unclaimed and (len(read.scores) < full or score > (lowest or 0)):
            unclaimed -= 1
        elif len(read.scores) < full:
            yield "", f"has {len(read.scores)} rows and leaves out {name} with {score}"
        elif lowest is not None and score > lowest:
            yield "", f"leaves out {name} with {score}, though its last row has {lowest}"


def possible_scores(chain: Chain) -> frozenset[int]:
    """The scores that a user may have in the end, where answers or events are lacking."""
    if chain.last is None:
        return frozenset()
    unsure = [s.increment for s in chain.left if s.outcome is not Outcome.FAIL]
    scores = {chain.last}
    for increment in unsure[:12]:
        scores |= {score + increment for score in scores}
    return frozenset(scores) if unsure else frozenset()
