"""The account of a run whose events have no ids to follow: every event with its submission. Pure.

Put together once, for the findings and for the times from submission to listener.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.checker.by_content.boards import bases_of, called_alike, full_of, vanished_of
from harness.checker.by_content.chains import Chain
from harness.checker.by_content.naming import Naming, name_users
from harness.checker.by_content.receptions import Audience, connections_of
from harness.checker.by_content.sightings import Shown, join_sightings
from harness.checker.evidence import Evidence, Submission


@dataclass(frozen=True, kw_only=True)
class Account:
    """What was sent, shown and received. `rising` where no loss was sent."""

    events: list[Shown]
    of_name: dict[str, list[Shown]]
    by_user: dict[int, list[Submission]]
    naming: Naming
    audience: Audience
    rising: bool
    others_wrote: bool
    """Events showed names that this run never sent for."""
    called_alike: set[str]
    """Names that several users have, as a board showed."""
    covered: bool
    """Some connection was open from the first submission to the end; all were, where losses
    were sent."""
    late: str = ""
    """Why what was not shown may be late instead of lost; empty where it cannot be."""

    @property
    def chains(self) -> Sequence[Chain]:
        """The names whose user is known."""
        return self.naming.chains


def account_of(evidence: Evidence) -> Account:
    """Explain a run. About 50 µs for each event."""
    by_user: dict[int, list[Submission]] = defaultdict(list)
    for submission in sorted(evidence.submissions, key=lambda s: s.invoked_ns):
        by_user[submission.user].append(submission)
    rising = all(s.increment > 0 for s in evidence.submissions)
    events = join_sightings(evidence.seen)
    first_ns = min((s.invoked_ns for s in evidence.submissions), default=evidence.ended_ns)
    of_name: dict[str, list[Shown]] = defaultdict(list)
    for event in events:
        event.state = bool(evidence.submissions) and event.time_ns < first_ns
        of_name[event.name].append(event)
    if rising:
        for shown in of_name.values():
            shown.sort(key=lambda event: (event.score, event.occurrence))
    alike = called_alike(evidence.reads, evidence.names)
    bases = bases_of(evidence.reads, list(of_name), first_ns, alike, full=full_of(evidence))
    naming = name_users(
        of_name,
        by_user,
        bases,
        evidence.names,
        alike=alike,
        vanished=vanished_of(evidence.reads, of_name),
        rising=rising,
    )
    alike |= naming.alike.union(naming.unsure)
    for chain in naming.chains:
        for submission, event in chain.shown:
            event.submission = submission
    # Where a score came back, which time a listener was shown cannot be told after a reconnect.
    repeated = {(event.name, event.score) for event in events if event.occurrence > 1}
    unsure = alike & {chain.name for chain in naming.chains if chain.cost or chain.left}
    required = [
        event
        for event in events
        if not event.state
        and event.name not in unsure
        and (event.submission is not None or not evidence.submissions)
        and (rising or (event.name, event.score) not in repeated)
    ]
    audience = Audience(
        connections_of(evidence.listens),
        events,
        required,
        drained=evidence.drained,
        rising=rising,
    )
    covering = audience.covering(first_ns, evidence.ended_ns)
    # Where scores fall, their order is told by the clock, and a listener that was away spoils it.
    covered = covering > 0 if rising else covering == len(audience.connections) > 0
    foreign = [name for name in naming.foreign if any(not event.state for event in of_name[name])]
    naming.foreign = foreign
    return Account(
        events=events,
        of_name=dict(of_name),
        by_user=dict(by_user),
        naming=naming,
        audience=audience,
        rising=rising,
        others_wrote=bool(foreign) and bool(evidence.submissions),
        called_alike=alike,
        covered=covered,
        late=_late(naming.chains, events, audience),
    )


def _late(chains: Sequence[Chain], events: Sequence[Shown], audience: Audience) -> str:
    """A server that acknowledges first may stall, and go on: it is at rest when nothing came for
    longer than the slowest submission took."""
    slowest_ns = max((e.time_ns - s.invoked_ns for c in chains for s, e in c.shown), default=0)
    newest_ns = max((event.time_ns for event in events), default=0)
    closed_ns = max((c.closed_ns or 0 for c in audience.connections), default=0)
    quiet_ns = max(0, closed_ns - newest_ns)
    if not events or slowest_ns <= quiet_ns:
        return ""
    return (
        f"it may be late: others were shown up to {slowest_ns / 1e9:.1f} s after they were sent, "
        f"and the run waited {quiet_ns / 1e9:.1f} s after the last event"
    )
