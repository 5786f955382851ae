"""Explains the scores that one name was shown with by the submissions of one user. Pure.

Each score must be the one before it plus one increment that had been sent. Where a score is
not, the cheapest assumption that explains what follows is the defect that is told: an event that
was never shown, shown with another score, taken back, applied twice, invented.
"""

import enum
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from harness.checker.by_content.sightings import Shown
from harness.checker.evidence import Submission
from harness.evidence.history import Outcome

CLOCK_SLACK_NS = 1_000_000_000
"""An event may seem to be seen this much before its submission was sent: other machines' clocks."""
LOOK_AHEAD = 6
"""Events by whose explanation an assumption about the one before them is chosen."""
PENDING_MAX = 24
"""Of more submissions under way, only the oldest are tried as the sum behind one step."""
BACK_MAX = 3
"""Events that a later one may take back."""
LATELY_NS = 2_000_000_000
NOT_REFUSED = (Outcome.OK, Outcome.UNKNOWN)
RECENT = 4
"""Events among which one that shows the same increment is taken for the same submission."""


class Flaw(enum.StrEnum):
    """What is wrong with an event, or with the step that leads to it."""

    MERGED = "merged"
    """The step is the sum of several submissions: all but one were never shown."""
    REPEATED = "repeated"
    """The step is an increment that another event has shown already."""
    REFUSED = "refused"
    """The step is the increment of a refused submission."""
    STEP = "step"
    """The step is no increment that was sent for this user."""
    FALSE = "false"
    """The score is none that the submissions add up to; the next one goes on without it."""
    TAKEN_BACK = "taken back"
    """The event shows a submission, and the next score lacks its points."""
    AGAIN = "again"
    """The same score once more."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One flaw: the event, the score before it and the event that showed that score (None where
    a board did), the event that goes on without it, and the submissions that it concerns."""

    flaw: Flaw
    event: Shown
    before: int | None = None
    submissions: tuple[Submission, ...] = ()
    earlier: Shown | None = None
    later: Shown | None = None

    @property
    def step(self) -> int:
        """By how much the score changed; the score itself where none before is known."""
        return self.event.score - (self.before or 0)


@dataclass(slots=True)
class Chain:
    """One name's events as one user's submissions explain them.

    `shown` pairs each submission with its event. `left` are submissions that no event shows.
    `base` is the score before the first of them, `base_known` whether a board told it.
    """

    name: str
    user: int
    base: int | None
    base_known: bool
    shown: list[tuple[Submission, Shown]] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)
    left: list[Submission] = field(default_factory=list)
    last: int | None = None
    """The score after the last event on the path."""
    sure: bool = True
    """Enough of its steps tell that the name is this user's, should something be wrong."""

    @property
    def unshown(self) -> list[Submission]:
        """The acknowledged submissions among those left."""
        return [s for s in self.left if s.outcome is Outcome.OK]

    @property
    def cost(self) -> int:
        """How much is left unexplained; 0 for what an honest server shows."""
        return len(self.defects) + len(self.unshown)


@dataclass(frozen=True, slots=True)
class Base:
    """What boards told of a name's score before the run: itself, or what it is at most. `stands`
    where the last board still shows that score, `displaced` where it has no room for it."""

    known: int | None = None
    most: int | None = None
    stands: bool = False
    displaced: bool = False


class _Pool:
    """Submissions that no event has explained yet, by outcome and increment, oldest first."""

    def __init__(self, submissions: Iterable[Submission]) -> None:
        self._waiting: dict[tuple[Outcome, int], list[Submission]] = defaultdict(list)
        for submission in submissions:
            self._waiting[submission.outcome, submission.increment].append(submission)

    def find(
        self, increment: int, by_ns: int, outcomes: Sequence[Outcome] = NOT_REFUSED
    ) -> Submission | None:
        """The oldest of this increment that was sent by then, the acknowledged ones first."""
        for outcome in outcomes:
            waiting = self._waiting.get((outcome, increment))
            if waiting and waiting[0].invoked_ns <= by_ns + CLOCK_SLACK_NS:
                return waiting[0]
        return None

    def take(self, submission: Submission) -> None:
        self._waiting[submission.outcome, submission.increment].remove(submission)

    def put_back(self, submission: Submission) -> None:
        waiting = self._waiting[submission.outcome, submission.increment]
        waiting.append(submission)
        waiting.sort(key=lambda s: s.invoked_ns)

    def pending(self, by_ns: int) -> list[Submission]:
        """Those that may have been applied by then, oldest first, at most PENDING_MAX."""
        found = [
            submission
            for (outcome, _), waiting in self._waiting.items()
            if outcome is not Outcome.FAIL
            for submission in waiting
            if submission.invoked_ns <= by_ns + CLOCK_SLACK_NS
        ]
        return sorted(found, key=lambda s: s.invoked_ns)[:PENDING_MAX]

    def sum_of(self, step: int, by_ns: int) -> tuple[Submission, ...]:
        """Two or three submissions that add up to a step, the oldest ones; empty for none."""
        pending = self.pending(by_ns)
        for size in (2, 3):
            for some in combinations(pending, size):
                if sum(s.increment for s in some) == step:
                    return some
        return ()

    def left(self) -> Iterator[Submission]:
        """All that remain, refused ones apart."""
        for (outcome, _), waiting in self._waiting.items():
            if outcome is not Outcome.FAIL:
                yield from waiting


@dataclass(frozen=True, slots=True)
class _Assumption:
    """What is assumed of the event at hand: how many events it takes, the score to go on from,
    the submissions it uses up, the defects, and how unlikely it is."""

    score: int
    cost: float
    defects: tuple[Defect, ...]
    uses: tuple[Submission, ...] = ()
    shows: tuple[Submission, Shown] | None = None
    accepts: bool = True
    drops: int = 0
    """How many of the last accepted events turn out to be off the path."""


class _Walk:
    """Goes through the events of one name once."""

    def __init__(
        self, name: str, user: int, events: Sequence[Shown], submissions: Sequence[Submission]
    ) -> None:
        self._events = events
        self._pool = _Pool(submissions)
        self._used: dict[int, Submission] = {}
        self._path: list[tuple[int, Shown | None, Submission | None]] = []
        self.chain = Chain(name, user, None, base_known=False)

    def explain(self, base: Base, *, whole_only: bool) -> Chain:
        """The chain; with `whole_only` it may end at the first defect."""
        chain, events = self.chain, self._events
        at = 0
        while at < len(events) and events[at].state:
            self._path = [(events[at].score, None, None)]
            at += 1
        if base.known is not None:
            self._path = [(base.known, None, None)]
        chain.base_known = bool(self._path)
        if self._path:
            chain.base = self._path[0][0]
        elif at < len(events):
            # Which submission the first event shows is told by what the others leave.
            self._path.append((events[at].score, events[at], None))
            at += 1
        for position in range(at, len(events)):
            if not self._take_step(position, whole_only=whole_only) and whole_only:
                return chain
        self._open(base)
        chain.left = sorted(self._pool.left(), key=lambda s: s.invoked_ns)
        chain.last = self._path[-1][0] if self._path else None
        for _, event, shown in self._path:
            if event is not None and shown is not None:
                chain.shown.append((shown, event))
        self._pair_wrong_amounts()
        return chain

    def _take_step(self, position: int, *, whole_only: bool) -> bool:
        """Whether one submission explains the next event; else the defects are noted."""
        event = self._events[position]
        score = self._path[-1][0]
        submission = self._pool.find(event.score - score, event.time_ns)
        if submission is not None:
            self._accept(event, submission)
            return True
        if whole_only:
            self.chain.defects.append(Defect(Flaw.STEP, event, score))
            return False
        best = max(
            self._assumptions(position),
            key=lambda assumed: self._promise(assumed, position + 1) - assumed.cost,
        )
        for _ in range(best.drops):
            self._path.pop()
        for used in best.uses:
            self._pool.take(used)
            self._used[used.increment] = used
        if best.accepts:
            shows = best.shows[0] if best.shows else None
            self._path.append((event.score, event, shows))
        self.chain.defects += best.defects
        return False

    def _accept(self, event: Shown, submission: Submission) -> None:
        self._pool.take(submission)
        self._used[submission.increment] = submission
        self._path.append((event.score, event, submission))

    def _assumptions(self, position: int) -> Iterator[_Assumption]:
        event = self._events[position]
        score, last_event, _ = self._path[-1]
        step = event.score - score

        def flawed(flaw: Flaw, *submissions: Submission) -> tuple[Defect, ...]:
            return (Defect(flaw, event, score, submissions, last_event),)

        if step == 0:
            yield _Assumption(score, 0.05, flawed(Flaw.AGAIN), accepts=False)
        lately = [s for _, _, s in self._path[-RECENT:] if s is not None and s.increment == step]
        if lately:
            yield _Assumption(event.score, 0.1, flawed(Flaw.REPEATED, lately[-1]))
        refused = self._pool.find(step, event.time_ns, (Outcome.FAIL,))
        if refused is not None:
            yield _Assumption(
                event.score,
                0.1,
                flawed(Flaw.REFUSED, refused),
                uses=(refused,),
                shows=(refused, event),
            )
        parts = self._pool.sum_of(step, event.time_ns)
        if parts:
            # The newest is taken for the one that this event shows.
            yield _Assumption(
                event.score,
                0.2 + 0.1 * (len(parts) - 2),
                flawed(Flaw.MERGED, *parts),
                uses=parts,
                shows=(parts[-1], event),
            )
        yield from self._back(event)
        yield _Assumption(score, 0.3, flawed(Flaw.FALSE), accepts=False)
        if len(self._path) == 1 and last_event is not None:
            # The opening event itself may be the false one.
            yield _Assumption(
                event.score, 0.35, (Defect(Flaw.FALSE, last_event, later=event),), drops=1
            )
        yield _Assumption(event.score, 0.4, flawed(Flaw.STEP))

    def _back(self, event: Shown) -> Iterator[_Assumption]:
        """The event goes on from an earlier score: those after it were taken back."""
        for back in range(1, min(BACK_MAX, len(self._path) - 1) + 1):
            earlier = self._path[-1 - back][0]
            submission = self._pool.find(event.score - earlier, event.time_ns)
            if submission is None:
                continue
            taken = tuple(
                Defect(Flaw.TAKEN_BACK, lost, earlier, (shown,) if shown is not None else (), event)
                for _, lost, shown in self._path[-back:]
                if lost is not None
            )
            yield _Assumption(
                event.score,
                0.22 + 0.05 * back,
                taken,
                uses=(submission,),
                shows=(submission, event),
                drops=back,
            )

    def _promise(self, assumed: _Assumption, position: int) -> float:
        """How many of the next events would be explained after an assumption."""
        taken = list(assumed.uses)
        for used in taken:
            self._pool.take(used)
        score, found = assumed.score, 0.0
        for event in self._events[position : position + LOOK_AHEAD]:
            submission = self._pool.find(event.score - score, event.time_ns)
            if submission is not None:
                found += 1
                parts: tuple[Submission, ...] = (submission,)
            elif parts := self._pool.sum_of(event.score - score, event.time_ns):
                found += 0.5
            else:
                continue
            for part in parts:
                self._pool.take(part)
                taken.append(part)
            score = event.score
        for used in reversed(taken):
            self._pool.put_back(used)
        return found

    def _open(self, base: Base) -> None:
        """Say which submission the first event shows, where the score before it was not told."""
        chain = self.chain
        if chain.base_known or not self._path:
            return
        score, event, _ = self._path[0]
        if event is None:
            return
        pending = [
            s
            for s in self._pool.pending(event.time_ns)
            if base.most is None or score - s.increment <= base.most
        ]
        acknowledged = [s for s in pending if s.outcome is Outcome.OK]
        # A score of 0 before it is likelier than any other, but what was acknowledged comes first;
        # what was sent last, since the event of what was sent before may have been missed.
        for choice in (acknowledged, pending):
            if choice:
                sent = [s for s in choice if s.invoked_ns <= event.time_ns] or choice[:1]
                chosen = next((s for s in sent if s.increment == score), sent[-1])
                break
        else:
            chain.defects.append(Defect(Flaw.STEP, event))
            return
        self._pool.take(chosen)
        self._path[0] = (score, event, chosen)
        chain.base = score - chosen.increment

    def _pair_wrong_amounts(self) -> None:
        """A step that nobody sent, and a submission that nothing shows, belong together."""
        chain = self.chain
        for place, defect in enumerate(chain.defects):
            if defect.flaw is Flaw.REPEATED:
                self._may_be_wrong(place, defect)
            if defect.flaw not in (Flaw.STEP, Flaw.FALSE) or defect.submissions:
                continue
            hidden = [
                s
                for other in chain.defects
                if other.flaw is Flaw.MERGED and other.before == defect.before
                for s in other.submissions
            ]
            candidates = [
                s
                for s in (hidden if defect.flaw is Flaw.FALSE else []) or chain.left
                if s.invoked_ns <= defect.event.time_ns + CLOCK_SLACK_NS
            ]
            if candidates:
                nearest = min(candidates, key=lambda s: abs(s.increment - defect.step))
                chain.defects[place] = replace(defect, submissions=(nearest,))
                if defect.flaw is Flaw.STEP:
                    chain.left.remove(nearest)
            elif defect.flaw is Flaw.STEP and defect.step in self._used:
                again = self._used[defect.step]
                chain.defects[place] = replace(defect, flaw=Flaw.REPEATED, submissions=(again,))

    def _may_be_wrong(self, place: int, defect: Defect) -> None:
        """A step that repeats another one is rather the wrong amount of one that nothing shows."""
        event_ns = defect.event.time_ns
        lately = [
            s
            for s in self.chain.unshown
            if event_ns - LATELY_NS <= s.invoked_ns <= event_ns + CLOCK_SLACK_NS
        ]
        if lately:
            nearest = min(lately, key=lambda s: abs(event_ns - s.invoked_ns))
            self.chain.defects[place] = replace(defect, flaw=Flaw.STEP, submissions=(nearest,))
            self.chain.left.remove(nearest)


def explain(
    name: str,
    user: int,
    events: Sequence[Shown],
    submissions: Sequence[Submission],
    base: Base,
    *,
    rising: bool,
    whole_only: bool = False,
) -> Chain:
    """The events of a name, in order, by the submissions of a user in the order of their sending.

    With `rising` no loss was sent: then the order is that of the scores, and no score comes twice.
    Where a name cannot have had more than 0 points, 0 is tried first; a board that shows
    nobody with less may yet leave out somebody who has. With `whole_only` a chain that costs
    anything need not be complete.
    """
    again = [event for event in events if event.occurrence > 1] if rising else []
    path = [event for event in events if event.occurrence == 1] if rising else events

    def walk(base: Base, whole_only: bool = whole_only) -> Chain:
        return _Walk(name, user, path, submissions).explain(base, whole_only=whole_only)

    if base.known is None and base.most == 0:
        chain = walk(Base(known=0, most=0))
        if chain.cost and (other := walk(base)).cost < chain.cost:
            chain = other
    else:
        chain = walk(base)
    if chain.cost and path and not chain.base_known:
        # Where increments come again and again, what the others leave may not have been sent yet
        # when the first event was shown: then it may show any other.
        for increment in dict.fromkeys(s.increment for s in submissions):
            before = path[0].score - increment
            if base.most is None or before <= base.most:
                other = walk(Base(known=before), whole_only=True)
                if not other.cost:
                    chain = replace(other, base_known=False)
                    break
    chain.defects += [Defect(Flaw.AGAIN, event, event.score) for event in again]
    return chain
