"""Names whose events do not add up, looked at again before anybody is convicted. Pure.

A name may belong to two users of whom one never submits, and a user may be renamed while the run
goes on. Neither is a lie, and neither shows in one name's events alone.
"""

from collections.abc import Mapping, Sequence

from harness.checker.by_content.chains import Base, Chain, explain
from harness.checker.by_content.sightings import Shown
from harness.checker.evidence import Submission

TRIES_MAX = 1000
VANISHED_MAX = 10


def of_namesakes(
    chains: list[Chain],
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    bases: Mapping[str, Base],
    *,
    rising: bool,
) -> list[str]:
    """Names that add up once the score that a board showed before the run is not their user's.

    Only where that score has been driven off the board: else it would show whose it is. Whether
    the first gain is right is not known then.
    """
    found = []
    for place, chain in enumerate(chains):
        base = bases.get(chain.name, Base())
        if not chain.cost or not base.displaced or not base.known:
            continue
        shown, sent = events[chain.name], by_user[chain.user]
        other = explain(chain.name, chain.user, shown, sent, Base(), rising=rising)
        if not other.cost:
            chains[place] = other
            found.append(chain.name)
    return found


def of_renamed_before(
    chains: list[Chain],
    foreign: list[str],
    nameless: list[int],
    vanished: Mapping[str, int],
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    *,
    rising: bool,
) -> list[str]:
    """The names of users who were renamed before any event showed them: the events of a later name
    add up from the score that a vanished one had on the first board."""
    found = []
    for old, score in list(vanished.items())[:VANISHED_MAX]:
        told: list[tuple[str, int, Chain | None]]
        told = [(chain.name, chain.user, chain) for chain in chains if chain.cost]
        told += [(name, user, None) for name in foreign for user in nameless][:TRIES_MAX]
        for name, user, chain in told:
            base = Base(known=score)
            whole = explain(name, user, events[name], by_user[user], base, rising=rising)
            if whole.cost or not whole.shown:
                continue
            found.append(old)
            if chain is not None:
                chains[chains.index(chain)] = whole
            else:
                chains.append(whole)
                foreign.remove(name)
                nameless.remove(user)
            break
    return found


def of_renamed(
    chains: list[Chain],
    foreign: list[str],
    events: Mapping[str, Sequence[Shown]],
    by_user: Mapping[int, Sequence[Submission]],
    bases: Mapping[str, Base],
    *,
    rising: bool,
) -> None:
    """Unites names of nobody with the users who lack what their events show.

    Such a chain has the name that was shown last.
    """
    tries = 0
    for name in list(foreign):
        for place, chain in enumerate(chains):
            tries += 1
            if not chain.cost or chain.name == name or tries > TRIES_MAX:
                continue
            together = [*events[chain.name], *events[name]]
            together.sort(key=lambda event: event.time_ns)
            newest, base = together[-1].name, bases.get(together[0].name, Base())
            if rising:
                together.sort(key=lambda event: (event.score, event.occurrence))
            whole = explain(newest, chain.user, together, by_user[chain.user], base, rising=rising)
            if not whole.cost:
                chains[place] = whole
                foreign.remove(name)
                break
