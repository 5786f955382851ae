"""Sentences of the findings on events without ids: who, by how much, which event, to whom, when."""

from collections.abc import Sequence

from harness.checker.by_content.chains import Chain, Defect, Flaw
from harness.checker.by_content.receptions import Audience, Lack
from harness.checker.by_content.sightings import Shown
from harness.checker.evidence import Evidence, Submission
from harness.evidence.history import Outcome


class Words:
    """Words times and names as people look them up in the run's histories."""

    def __init__(self, evidence: Evidence, audience: Audience) -> None:
        self._begin_ns = min(
            (s.invoked_ns for s in evidence.submissions), default=evidence.started_ns
        )
        self._audience = audience

    def at(self, time_ns: int) -> str:
        """A moment, in seconds from the first submission of the run."""
        return f"{(time_ns - self._begin_ns) / 1e9:.3f} s"

    def sent(self, submission: Submission) -> str:
        """A submission, and what it was answered."""
        status = next((a.status for a in submission.attempts if a.status), None)
        match submission.outcome:
            case Outcome.OK:
                answer = f"acknowledged with {status}" if status else "acknowledged"
            case Outcome.FAIL:
                answer = f"refused with {status}" if status else "refused"
            case _:
                answer = "not answered" if status is None else f"answered with {status}"
        return (
            f"{submission.increment:+d} (submission {submission.name}, sent at "
            f"{self.at(submission.invoked_ns)}, {answer})"
        )

    def event(self, event: Shown) -> str:
        """An event, who saw it first, and how many did."""
        receivers = {c.listener for c in self._audience.receivers(event)}
        listeners = {c.listener for c in self._audience.connections}
        return (
            f"event {event} at {self.at(event.time_ns)} (to {len(receivers)} of "
            f"{len(listeners)} listeners, first {event.listener})"
        )

    def whose(self, chain: Chain) -> str:
        """A name and its user id."""
        return f"{chain.name} (user {chain.user})"

    def defect(self, chain: Chain, defect: Defect) -> str:
        """One flaw."""
        who, event = self.whose(chain), self.event(defect.event)
        parts = [self.sent(s) for s in defect.submissions]
        step = f"changed by {defect.step:+d} from {defect.before}"
        if defect.before is None:
            step = f"was shown with {defect.event.score}"
        match defect.flaw:
            case Flaw.MERGED:
                hidden = "; ".join(parts[:-1])
                return (
                    f"{who} {step} in one {event}: {hidden} was applied and never shown, only in "
                    f"one step with {parts[-1]}"
                )
            case Flaw.REPEATED:
                return f"{who} {step} by {event}: {parts[0]} was applied again"
            case Flaw.REFUSED:
                return f"{who} {step} by {event}: {parts[0]} was applied anyway"
            case Flaw.AGAIN:
                return f"{who} was shown twice: {event} has the score of an earlier event"
            case Flaw.TAKEN_BACK:
                what = parts[0] if parts else "a change"
                return f"{who}: {event} shows {what}, the next score lacks it: it was taken back"
            case Flaw.FALSE if parts:
                return (
                    f"{who}: {event} shows a score that its submissions do not add up to; "
                    f"nearest is {parts[0]}, which makes {self._sum(defect)}"
                )
            case Flaw.FALSE:
                return f"{who}: {event} shows a score that its submissions do not add up to"
            case _ if parts:
                return f"{who} {step} by {event}, which nobody sent: sent was {parts[0]}"
            case _:
                return f"{who} {step} by {event}, which nobody sent"

    def _sum(self, defect: Defect) -> str:
        if defect.before is None:
            return "another"
        return str(defect.before + defect.submissions[0].increment)

    def lost(self, chain: Chain, submission: Submission, covering: int) -> str:
        """An acknowledged submission that no event shows."""
        gain = "" if chain.last is None or chain.base is None else f" by {chain.last - chain.base}"
        acknowledged = sum(s.increment for s, _ in chain.shown if s.outcome is Outcome.OK)
        acknowledged += sum(s.increment for s in chain.unshown)
        return (
            f"{self.whose(chain)}: {self.sent(submission)} was never shown: {covering} listeners "
            f"were connected from then to the end; acknowledged were {acknowledged:+d}, shown is "
            f"a rise{gain}"
        )

    def nameless(self, user: int, submissions: Sequence[Submission], covering: int) -> str:
        """A user of whom nothing was shown."""
        return (
            f"user {user}: {self.sent(submissions[0])} was never shown"
            + (f", nor were {len(submissions) - 1} more of this user" if submissions[1:] else "")
            + f": {covering} listeners were connected from then to the end, and no name fits"
        )

    def lack(self, lack: Lack) -> str:
        """What a listener was not sent."""
        connection, event = lack.connection, lack.event
        what = f"{event} ({self._shows(event)})"
        if not lack.silent or lack.count == 1:
            more = f", nor {lack.count - 1} more events" if lack.count > 1 else ""
            return (
                f"{connection.listener} was connected from {self.at(connection.opened_ns)} and "
                f"never sent {what}{more}, which {self._others(event)} had at "
                f"{self.at(event.time_ns)}"
            )
        return (
            f"{connection.listener} has been silent since {self.at(event.time_ns)} with its "
            f"connection open: it lacks {lack.count} events from {what} on, which "
            f"{self._others(event)} had"
        )

    def _shows(self, event: Shown) -> str:
        submission = event.submission
        if submission is None:
            return "of another writer"
        return f"user {submission.user}, {submission.increment:+d}, submission {submission.name}"

    def _others(self, event: Shown) -> str:
        return f"{len({c.listener for c in self._audience.receivers(event)})} others"
