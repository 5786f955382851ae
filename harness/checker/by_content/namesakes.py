"""Users who are called alike: one name's events, told apart by whose submissions they show. Pure.

A server of the specification shows names, which need not be unique. A user who was told no name of
his own may have his events among those of another; and where names were told by few events, one
user may have been taken for another.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations

from harness.checker.by_content.chains import Base, Chain, explain
from harness.checker.by_content.sightings import Shown
from harness.checker.evidence import Submission
from harness.evidence.history import Outcome

STRANGERS_MAX = 8
"""Users without a name that are tried together."""
ALIKE_MAX = 3
"""Users of one name that are told apart, where no roster names them."""
SWAPS_MAX = 300
"""Users that may have been taken for another, tried for each name."""
TRIES_MAX = 20_000
"""Steps of the search for whose event is whose; beyond it, it is not told."""
EVENTS_MAX = 500
"""Deep recursion would fail on thousands of events."""


def is_owed(submission: Submission) -> bool:
    """Whether it was acknowledged, so that some event has to show it."""
    return submission.outcome is Outcome.OK


def _may_be_applied(submission: Submission) -> bool:
    return submission.outcome is not Outcome.FAIL


def unite(
    chains: list[Chain],
    nameless: list[int],
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    bases: Mapping[str, Base],
    alike: Collection[str],
    *,
    rising: bool,
) -> None:
    """Events that do not fit a name's user may be those of others who are called alike: such users
    leave `nameless`."""
    for chain in [c for c in chains if c.defects or c.name in alike]:
        # Whom something was acknowledged has a name, if the server is honest.
        owed = [user for user in nameless if any(map(is_owed, by_user[user]))]
        maybe = [user for user in nameless if any(map(_may_be_applied, by_user[user]))]
        if not _join(chains, chain, owed, nameless, events, by_user) and not (
            _swap(chains, chain, owed, nameless, events, by_user, bases, rising=rising)
        ):
            _join(chains, chain, maybe, nameless, events, by_user)


def _join(
    chains: list[Chain],
    chain: Chain,
    left: Sequence[int],
    nameless: list[int],
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
) -> bool:
    """One or two of those that are left have the name, too."""
    shown = events.get(chain.name, ())
    for others in _companies(left, shown, by_user):
        parts = separate(chain.name, [chain.user, *others], shown, by_user)
        if parts is not None:
            chains.remove(chain)
            chains += parts
            nameless[:] = [user for user in nameless if user not in others]
            return True
    return False


def _companies(
    left: Sequence[int], shown: Sequence[Shown], by_user: Mapping[int, Sequence[Submission]]
) -> Iterator[tuple[int, ...]]:
    fits = [user for user in left if _may_have(shown, by_user[user])]
    yield from ((user,) for user in fits)
    for size in range(2, ALIKE_MAX):
        yield from combinations(fits[:STRANGERS_MAX], size)


def _swap(
    chains: list[Chain],
    chain: Chain,
    owed: Sequence[int],
    nameless: list[int],
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    bases: Mapping[str, Base],
    *,
    rising: bool,
) -> bool:
    """A user without a name may be the one whose events were taken for those of another user, who
    in truth is called as a third one."""
    shown = events.get(chain.name, ())
    owed = owed[:STRANGERS_MAX]
    others = [c for c in chains if c is not chain and not c.cost and c.name != chain.name]
    others = [c for c in others if owed and _may_have(shown, by_user[c.user])][:SWAPS_MAX]
    for other in others:
        base, theirs = bases.get(other.name, Base()), events.get(other.name, ())
        for user in owed:
            fitting = explain(other.name, user, theirs, by_user[user], base, rising=rising)
            if fitting.cost:
                continue
            parts = separate(chain.name, [chain.user, other.user], shown, by_user)
            if parts is not None:
                chains.remove(chain)
                chains[chains.index(other)] = fitting
                chains += parts
                nameless.remove(user)
                return True
    return False


def unite_strangers(
    chains: list[Chain],
    foreign: list[str],
    nameless: list[int],
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
) -> None:
    """A name that fits nobody may be that of several users who are called alike."""
    for name in list(foreign):
        left = [user for user in nameless if any(map(is_owed, by_user[user]))][:STRANGERS_MAX]
        for size in range(2, ALIKE_MAX + 1):
            company = next(
                (
                    parts
                    for users in combinations(left, size)
                    if (parts := separate(name, users, events[name], by_user)) is not None
                ),
                None,
            )
            if company is not None:
                foreign.remove(name)
                chains += company
                named = {chain.user for chain in company}
                nameless[:] = [user for user in nameless if user not in named]
                break


def _may_have(events: Sequence[Shown], submissions: Sequence[Submission]) -> bool:
    """Whether some event may be the next one of a user with these submissions, or he has but
    one."""
    if sum(map(is_owed, submissions)) <= 1:
        return True
    scores = {event.score for event in events}
    increments = {s.increment for s in submissions}
    return any(score + increment in scores for score in scores for increment in increments)


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
    needed = [sum(map(is_owed, by_user[user])) for user in users]
    if sum(needed) > len(ordered):
        return None
    open_steps: list[Counter[int | None]] = [
        Counter(s.increment for s in by_user[user]) for user in users
    ]
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
            step = event.score - part[-1].score if part else None
            if step is not None and not open_steps[choice][step]:
                continue
            part.append(event)
            open_steps[choice][step] -= 1
            found = place(at + 1)
            if found is not None:
                return found
            open_steps[choice][step] += 1
            part.pop()
        return None

    return place(0) if len(ordered) <= EVENTS_MAX else None
