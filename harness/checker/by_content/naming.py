"""Finds out which name belongs to which user id, from what was sent and what was shown. Pure.

A server of the specification shows names, and the run knows ids. The increments of a user come
in an order of their own, so that a few steps of a name's score tell whose they are.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.checker.by_content.chains import CLOCK_SLACK_NS, Base, Chain, explain
from harness.checker.by_content.sightings import Shown
from harness.checker.evidence import Submission
from harness.evidence.history import Outcome

STEPS_ASKED = 12
"""Steps of a name by which its user is looked for."""
WITHIN_NS = 20_000_000_000
"""How long before a step its submission is looked for, before longer ones are."""
CANDIDATES_MAX = 40
VOTES_MIN = 2
"""Steps by which a name with something wrong is still recognised, where it has that many."""


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
    rising: bool,
) -> Naming:
    """Tell the users of all names: those that `names` knows, and the others by their steps.

    Events of a name come in the order of their scores where all were `rising`, else of their sight.
    """
    naming = Naming()
    by_name: dict[str, list[int]] = defaultdict(list)
    for user in by_user:
        if user in names:
            by_name[names[user]].append(user)
    open_users = {user: s for user, s in by_user.items() if user not in names}
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
        _discover(naming, open_names, open_users, bases, rising=rising)
    else:
        naming.foreign += open_names
    return naming


def _discover(
    naming: Naming,
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    bases: Mapping[str, Base],
    *,
    rising: bool,
) -> None:
    votes = _votes(events, by_user, bases)
    matched = _match_whole(events, by_user, bases, votes, rising=rising)
    for name, chain in matched.items():
        del votes[name]
        naming.chains.append(chain)
    taken = {chain.user for chain in matched.values()}
    # What is left has something wrong; the clearest are told first.
    pairs = sorted(
        (
            (-count, name, user)
            for name, counted in votes.items()
            for user, count in counted.items()
            if user not in taken and count >= min(VOTES_MIN, _steps_of(events[name]))
        ),
    )
    for _, name, user in pairs:
        if name in votes and user not in taken:
            del votes[name]
            taken.add(user)
            naming.chains.append(
                explain(
                    name,
                    user,
                    events[name],
                    by_user[user],
                    bases.get(name, Base()),
                    rising=rising,
                )
            )
    nameless = [user for user in by_user if user not in taken]
    naming.foreign += votes
    _unite(naming, events, by_user, nameless)
    named = {chain.user for chain in naming.chains}
    naming.nameless += [user for user in nameless if user not in named]


def _steps_of(events: Sequence[Shown]) -> int:
    return max(1, len(events) - 1)


def _votes(
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    bases: Mapping[str, Base],
) -> dict[str, Counter[int]]:
    """For each name, how many of its steps each user could have caused."""
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
        for within_ns in (WITHIN_NS, 1 << 62):
            for step, time_ns in asked:
                counted.update(sent.users(step, time_ns, within_ns))
            if counted:
                break
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
    edges: dict[str, dict[int, Chain]] = {}
    for name, counted in votes.items():
        most = max(counted.values(), default=0)
        candidates = [user for user, count in counted.items() if count == most]
        if not counted and len(events[name]) == 1:
            candidates = _of_one_event(events[name][0], by_user)
        found: dict[int, Chain] = {}
        for user in candidates[:CANDIDATES_MAX]:
            base = bases.get(name, Base())
            chain = explain(name, user, events[name], by_user[user], base, rising=rising)
            if not chain.cost:
                found[user] = chain
        edges[name] = found
    holder: dict[int, str] = {}
    for name in sorted(edges, key=lambda name: len(edges[name])):
        _augment(name, edges, holder)
    return {name: edges[name][user] for user, name in holder.items()}


def _of_one_event(event: Shown, by_user: Mapping[int, Sequence[Submission]]) -> list[int]:
    """Users with one acknowledged submission, the nearest in time first."""
    found = [
        (event.time_ns - submissions[0].invoked_ns, user)
        for user, submissions in by_user.items()
        if sum(s.outcome is Outcome.OK for s in submissions) == 1
        and submissions[0].invoked_ns <= event.time_ns + CLOCK_SLACK_NS
    ]
    return [user for _, user in sorted(found)]


def _augment(name: str, edges: Mapping[str, dict[int, Chain]], holder: dict[int, str]) -> bool:
    """Kuhn's algorithm: give a name a user, letting others change theirs. Iterative by a stack."""
    came_from: dict[int, tuple[str, int | None]] = {}
    todo: list[tuple[str, int | None]] = [(name, None)]
    while todo:
        asking, via = todo.pop()
        for user in edges[asking]:
            if user in came_from:
                continue
            came_from[user] = (asking, via)
            if user in holder:
                todo.append((holder[user], user))
                continue
            free: int | None = user
            while free is not None:
                asker, previous = came_from[free]
                holder[free] = asker
                free = previous
            return True
    return False


def _unite(
    naming: Naming,
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    nameless: Sequence[int],
) -> None:
    """A name that one user explains in part may belong to several who are called alike."""
    if not nameless:
        return
    for chain in [c for c in naming.chains if len(c.defects) > 1]:
        shown = events.get(chain.name, ())
        counted: Counter[int] = Counter()
        for place, event in enumerate(shown):
            for later in shown[place + 1 : place + 4]:
                for user in nameless:
                    counted[user] += any(
                        s.increment == later.score - event.score
                        and s.invoked_ns <= later.time_ns + CLOCK_SLACK_NS
                        for s in by_user[user]
                    )
        for user, count in counted.most_common(3):
            if count < max(VOTES_MIN, len(by_user[user]) - 1):
                break
            chains = separate(chain.name, [chain.user, user], shown, by_user)
            if chains is not None:
                naming.chains.remove(chain)
                naming.chains += chains
                break


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


TRIES_MAX = 20_000
"""Steps of the search for whose event is whose; beyond it, it is not told."""


def separate(
    name: str,
    users: Sequence[int],
    events: Sequence[Shown],
    by_user: Mapping[int, Sequence[Submission]],
) -> list[Chain] | None:
    """The events of several users of one name, told apart so that all are explained wholly.

    None where that is not possible, or takes too long to find out.
    """
    ordered = sorted(events, key=lambda event: event.time_ns)
    parts: list[list[Shown]] = [[] for _ in users]
    needed = [sum(s.outcome is Outcome.OK for s in by_user[user]) for user in users]
    increments = [{s.increment for s in by_user[user]} for user in users]
    tries = 0

    def place(at: int) -> list[Chain] | None:
        nonlocal tries
        tries += 1
        if tries > TRIES_MAX:
            return None
        if at == len(ordered):
            if any(len(part) < need for part, need in zip(parts, needed, strict=True)):
                return None
            chains = [
                explain(name, user, part, by_user[user], Base(), rising=False)
                for user, part in zip(users, parts, strict=True)
            ]
            return chains if not any(chain.cost for chain in chains) else None
        event = ordered[at]
        # A part with a last score that this event goes on from is likelier than a new one.
        choices = sorted(range(len(parts)), key=lambda i: not parts[i])
        for choice in choices:
            part = parts[choice]
            if part and event.score - part[-1].score not in increments[choice]:
                continue
            part.append(event)
            found = place(at + 1)
            if found is not None:
                return found
            part.pop()
        return None

    # Deep recursion would fail on thousands of events.
    return place(0) if len(ordered) <= 500 else None
