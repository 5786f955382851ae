"""Finds out which name belongs to which user id, from what was sent and what was shown. Pure.

A server of the specification shows names, and the run knows ids. The increments of a user come
in an order of their own, so that a few steps of a name's score tell whose they are.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from harness.checker.by_content.chains import CLOCK_SLACK_NS, Base, Chain, explain
from harness.checker.by_content.namesakes import is_owed, separate, unite, unite_strangers
from harness.checker.by_content.second_looks import of_namesakes, of_renamed, of_renamed_before
from harness.checker.by_content.sightings import Shown
from harness.checker.evidence import Submission
from harness.evidence.history import Outcome

STEPS_ASKED = 12
"""Steps of a name by which its user is looked for."""
WITHIN_NS = 20_000_000_000
"""How long before a step its submission is looked for, before longer ones are."""
CANDIDATES_MAX = 1000
SURE_VOTES, SURE_SHARE = 3, 0.6
"""Steps, and their share of all, by which a name with something wrong is surely recognised; each
counts twice, for both spans of time."""


@dataclass(kw_only=True)
class Naming:
    """The chains of all names that were told whose they are, and what is left over."""

    chains: list[Chain] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """Names that belong to nobody this run sent for."""
    nameless: list[int] = field(default_factory=list)
    """Users for whom no name was shown."""
    shared: list[str] = field(default_factory=list)
    """Names of several users that could not be told apart."""
    unsure: list[str] = field(default_factory=list)
    """Names whose first gain cannot be told: a board may have shown another user of that name."""
    renamed: list[str] = field(default_factory=list)
    """Names of the first board whose users were then shown with other ones."""
    guessed: list[str] = field(default_factory=list)
    """Names taken for those of several users, though no board and no roster shows that they are."""
    alike: set[str] = field(default_factory=set)
    """Names of which the boards show another user than the one whose events were shown."""


class _Sent:
    """All submissions by increment, to find the users who could have caused a step."""

    def __init__(self, by_user: Mapping[int, Sequence[Submission]]) -> None:
        found: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for user, submissions in by_user.items():
            for submission in submissions:
                found[submission.increment].append((submission.invoked_ns, user))
        self._times: dict[int, list[int]] = {}
        self._users: dict[int, list[int]] = {}
        for increment, pairs in found.items():
            pairs.sort()
            self._times[increment] = [time_ns for time_ns, _ in pairs]
            self._users[increment] = [user for _, user in pairs]

    def users(self, increment: int, by_ns: int, within_ns: int) -> set[int]:
        times = self._times.get(increment)
        if times is None:
            return set()
        end = bisect_right(times, by_ns + CLOCK_SLACK_NS)
        return set(self._users[increment][bisect_left(times, by_ns - within_ns) : end])


def name_users(
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    bases: Mapping[str, Base],
    names: Mapping[int, str],
    *,
    alike: Collection[str] = (),
    vanished: Mapping[str, int],
    rising: bool,
) -> Naming:
    """Tell the users of all names: those that `names` knows, and the others by their steps.

    Events of a name come in the order of their scores where all were `rising`, else of their sight.
    Names that are `alike` have several users, as a board showed; `vanished` are those of the first
    board, with their scores, that neither an event nor the last board has.
    """
    naming = Naming()
    bases = {
        name: _of_namesake(naming, name, base, events[name], rising=rising)
        for name, base in bases.items()
    }
    by_name: dict[str, list[int]] = defaultdict(list)
    for user in by_user:
        # A roster may be of other names than the board's: such a user is looked for.
        if names.get(user) in events:
            by_name[names[user]].append(user)
    open_users = {user: s for user, s in by_user.items() if names.get(user) not in events}
    open_names = {name: e for name, e in events.items() if name not in by_name}
    for name, users in by_name.items():
        base = bases.get(name, Base())
        if len(users) == 1:
            naming.chains.append(
                explain(
                    name,
                    users[0],
                    events.get(name, ()),
                    by_user[users[0]],
                    base,
                    rising=rising,
                )
            )
        else:
            _share(naming, name, users, events.get(name, ()), by_user)
    if open_users:
        naming.nameless = _discover(naming, open_names, open_users, bases, rising=rising)
        unite_strangers(naming.chains, naming.foreign, naming.nameless, events, by_user)
        unite(naming.chains, naming.nameless, events, by_user, bases, alike, rising=rising)
        told = Counter(chain.name for chain in naming.chains if chain.name in open_names)
        naming.guessed += [n for n, users in told.items() if users > 1 and n not in alike]
    else:
        naming.foreign += open_names
    of_renamed(naming.chains, naming.foreign, events, by_user, bases, rising=rising)
    naming.renamed += of_renamed_before(
        naming.chains, naming.foreign, naming.nameless, vanished, events, by_user, rising=rising
    )
    naming.unsure += of_namesakes(naming.chains, events, by_user, bases, rising=rising)
    return naming


def _of_namesake(
    naming: Naming, name: str, base: Base, events: Sequence[Shown], *, rising: bool
) -> Base:
    """Nothing is known of a name whose score on the board stands where its events never were, or
    whose events begin below a score that others have driven off the board since: the board showed
    another user of that name."""
    changed = [event.score for event in events if not event.state]
    if base.known is None or not changed:
        return base
    never_there = base.stands and max(changed) < base.known
    begins_below = rising and base.displaced and min(changed) < base.known
    if not never_there and not begins_below:
        return base
    naming.alike.add(name)
    return Base()


def _discover(
    naming: Naming,
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    bases: Mapping[str, Base],
    *,
    rising: bool,
) -> list[int]:
    """Tell whose the names are; the users who are left without one."""
    votes = _votes(events, by_user, bases, WITHIN_NS)
    matched = _match_whole(events, by_user, bases, votes, rising=rising)
    if left := {name: shown for name, shown in events.items() if name not in matched}:
        # A server that is slow shows what was sent long ago.
        taken = {chain.user for chain in matched.values()}
        others = {user: sent for user, sent in by_user.items() if user not in taken}
        early = _votes(left, others, bases, 1 << 62)
        told_more = {
            name: counted
            for name, counted in early.items()
            if max(counted.values(), default=0) > max(votes[name].values(), default=0)
        }
        matched |= _match_whole(events, others, bases, told_more, rising=rising)
        for name, counted in early.items():
            votes[name] += counted
    for name, chain in matched.items():
        del votes[name]
        naming.chains.append(chain)
    taken = {chain.user for chain in matched.values()}
    all_votes = dict(votes)
    # What is left has something wrong; the clearest are told first.
    pairs = sorted(
        (
            (-count, name, user)
            for name, counted in votes.items()
            for user, count in counted.items()
            if user not in taken
        ),
    )
    for against, name, user in pairs:
        if name in votes and user not in taken:
            del votes[name]
            taken.add(user)
            base = bases.get(name, Base())
            chain = explain(name, user, events[name], by_user[user], base, rising=rising)
            steps = min(STEPS_ASKED, max(1, len(events[name]) - 1))
            runner_up = sorted(all_votes[name].values())[-2:][0] if len(all_votes[name]) > 1 else 0
            chain.sure = -against >= max(2 * SURE_VOTES, 2 * SURE_SHARE * steps, runner_up + 1)
            naming.chains.append(chain)
    naming.foreign += votes
    return [user for user in by_user if user not in taken]


def _votes(
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    bases: Mapping[str, Base],
    within_ns: int,
) -> dict[str, Counter[int]]:
    """For each name, how many of its steps each user could have caused, sent so long before."""
    sent = _Sent(by_user)
    votes: dict[str, Counter[int]] = {}
    for name, shown in events.items():
        base = bases.get(name, Base())
        scores = [event.score for event in shown]
        before = base.known if base.known is not None else 0 if base.most == 0 else None
        steps = [
            (after - earlier, event.time_ns)
            for earlier, after, event in zip(scores, scores[1:], shown[1:], strict=False)
        ]
        if before is not None and shown:
            steps.insert(0, (scores[0] - before, shown[0].time_ns))
        asked = steps[:: max(1, len(steps) // STEPS_ASKED)][:STEPS_ASKED]
        counted: Counter[int] = Counter()
        for step, time_ns in asked:
            counted.update(sent.users(step, time_ns, within_ns))
        votes[name] = counted
    return votes


def _match_whole(
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    bases: Mapping[str, Base],
    votes: Mapping[str, Counter[int]],
    *,
    rising: bool,
) -> dict[str, Chain]:
    """Names and users of whom one explains the other wholly, as many pairs as there are."""
    edges: dict[str, list[int]] = {}
    for name, counted in votes.items():
        base, shown = bases.get(name, Base()), events[name]
        if len(shown) == 1 and not counted:
            edges[name] = _of_one_event(shown[0], by_user, base)
            continue
        most = max(counted.values(), default=0)
        edges[name] = [
            user
            for user, count in counted.items()
            if count == most
            and not explain(
                name, user, shown, by_user[user], base, rising=rising, whole_only=True
            ).cost
        ]
    return {
        name: explain(
            name, user, events[name], by_user[user], bases.get(name, Base()), rising=rising
        )
        for name, user in _match(edges, by_user).items()
    }


def _match(
    edges: Mapping[str, Sequence[int]], by_user: Mapping[int, Sequence[Submission]]
) -> dict[str, int]:
    """Pair users that were acknowledged something first: they have a name, if the server is honest.

    Augmenting from the side of the names then leaves no paired user alone (Mendelsohn and Dulmage).
    """
    name_of: dict[int, str] = {}
    user_of: dict[str, int] = {}
    by_edge: dict[int, list[str]] = defaultdict(list)
    for name, users in edges.items():
        for user in users:
            by_edge[user].append(name)
    owed = [user for user in by_edge if any(map(is_owed, by_user[user]))]
    for user in sorted(owed, key=lambda user: len(by_edge[user])):
        _augment(user, by_edge, user_of, name_of)
    for name in sorted(edges, key=lambda name: len(edges[name])):
        if name not in user_of:
            _augment(name, edges, name_of, user_of)
    return user_of


def _of_one_event(
    event: Shown, by_user: Mapping[int, Sequence[Submission]], base: Base
) -> list[int]:
    """Users of whom one event can show all that was acknowledged, the nearest in time first."""
    found = []
    for user, submissions in by_user.items():
        owed = [s for s in submissions if s.outcome is Outcome.OK]
        possible = owed or [s for s in submissions if s.outcome is Outcome.UNKNOWN]
        if len(owed) > 1 or not possible:
            continue
        sent = possible[0]
        fits = sent.invoked_ns <= event.time_ns + CLOCK_SLACK_NS and (
            base.most is None or event.score - sent.increment <= base.most
        )
        if fits:
            found.append((event.time_ns - sent.invoked_ns, user))
    return [user for _, user in sorted(found)][:CANDIDATES_MAX]


L = TypeVar("L", int, str)
R = TypeVar("R", int, str)


def _augment(
    start: L, edges: Mapping[L, Sequence[R]], holder: dict[R, L], held: dict[L, R]
) -> None:
    """Kuhn's algorithm: pair `start`, letting others change their partners. By a stack."""
    came_from: dict[R, L] = {}
    todo = [start]
    while todo:
        asking = todo.pop()
        for wanted in edges[asking]:
            if wanted in came_from:
                continue
            came_from[wanted] = asking
            if wanted in holder:
                todo.append(holder[wanted])
                continue
            free: R | None = wanted
            while free is not None:
                asker = came_from[free]
                previous = held.get(asker)
                holder[free], held[asker] = asker, free
                free = previous
            return


def _share(
    naming: Naming,
    name: str,
    users: Sequence[int],
    events: Sequence[Shown],
    by_user: Mapping[int, Sequence[Submission]],
) -> None:
    chains = separate(name, users, events, by_user)
    if chains is None:
        naming.shared.append(name)
    else:
        naming.chains += chains
