"""The verdicts on a run whose events have no ids to follow: what the specification lets one see.

I1 to I10 as in `harness.checker`, each as far as answers, streams and the top ten decide it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from harness.checker.by_content.account import Account
from harness.checker.by_content.boards import (
    difference_at_rest,
    disorder_of,
    full_of,
    may_be_namesake,
    possible_scores,
    unshown_rows,
)
from harness.checker.by_content.chains import Chain, Flaw
from harness.checker.by_content.sightings import Shown
from harness.checker.by_content.words import Words
from harness.checker.evidence import BoardRead, Evidence, Submission
from harness.checker.verdict import Finding, Inquiry, not_asked
from harness.evidence.history import Outcome

TITLE_ONCE = "every acknowledged submission was shown once, a refused one never"
TITLE_SUMS = "every score shown is the one before it plus an increment that was sent"
TITLE_READS = "every board read shows scores that events showed, and in the end the last ones"
TITLE_STREAMS = "no connected listener misses an event that others had, or has one twice"
TITLE_LIVENESS = "every acknowledged submission is seen by a listener in time"
ONCE = (Flaw.MERGED, Flaw.REPEATED, Flaw.REFUSED)
SUMS = (Flaw.STEP, Flaw.FALSE, Flaw.TAKEN_BACK)
BY_OTHERS = (Flaw.MERGED, Flaw.REPEATED, Flaw.STEP, Flaw.FALSE, Flaw.TAKEN_BACK)
"""Flaws that another writer's submissions make, too."""
NAMES_TOLD = 3
NOBODY = "nobody listened all the time, so this proves nothing"
NO_TIME = "it promised none (`check --visible-within-s` asks for one)"
GAPLESS_IDS = "it needs event ids without gaps, and reads that name the change they hold"


class Judge:
    """Asks each question of one account."""

    def __init__(self, evidence: Evidence, account: Account) -> None:
        self._evidence = evidence
        self._account = account
        self._words = Words(evidence, account.audience)
        self._listeners = {c.listener for c in account.audience.connections}
        acknowledged = [s for s in evidence.submissions if s.outcome is Outcome.OK]
        self._acknowledged = len(acknowledged)
        self._first_ns = min(
            (s.invoked_ns for s in evidence.submissions), default=evidence.ended_ns
        )

    def findings(self, *, visible_within_s: float, asked: bool) -> list[Finding]:
        """All verdicts, in the order of their numbers."""
        return [
            self.once(),
            self.sums(),
            self.reads(),
            self.streams(),
            not_asked("I6 no regress", GAPLESS_IDS),
            self.liveness(visible_within_s, asked=asked),
        ]

    def _inquiry(self, invariant: str, title: str) -> Inquiry:
        return Inquiry(invariant, title, self._evidence.flaws)

    def _others(self, inquiry: Inquiry) -> None:
        names = self._account.naming.foreign
        if self._account.others_wrote:
            inquiry.doubt(
                f"others wrote too: events showed {len(names)} names that this run sent nothing "
                f"for, such as {', '.join(sorted(names)[:NAMES_TOLD])}"
            )

    def _defects(self, inquiry: Inquiry, flaws: Sequence[Flaw]) -> None:
        for chain in self._account.chains:
            for defect in chain.defects:
                if defect.flaw not in flaws:
                    continue
                sentence = self._words.defect(chain, defect)
                if self._account.others_wrote and defect.flaw in BY_OTHERS:
                    inquiry.doubt(f"others wrote too, so this proves nothing: {sentence}")
                elif chain.name in self._account.called_alike:
                    inquiry.doubt(f"several users are called {chain.name}: {sentence}")
                elif self._account.late and not chain.sure:
                    # Of what was shown so far, too little tells whose the name is.
                    inquiry.doubt(f"{sentence}, but {self._account.late}")
                elif not self._told(chain) and defect.flaw is not Flaw.AGAIN:
                    inquiry.doubt(f"{NOBODY}: {sentence}")
                else:
                    inquiry.violation(sentence)

    def _told(self, chain: Chain) -> bool:
        """Whether what is wrong with a chain is proven: one event that nobody was connected for
        leaves open what those after it show."""
        if self._account.covered:
            return True
        if not self._account.rising:
            # Of a gain and a loss together any other gain may be made.
            return False
        since_ns, audience = self._since_ns(chain.user), self._account.audience
        return chain.sure and all(audience.followed(defect, since_ns) for defect in chain.defects)

    def _since_ns(self, user: int) -> int:
        """When this run first sent something for a user."""
        return self._account.by_user[user][0].invoked_ns

    def once(self) -> Finding:
        """I1."""
        inquiry = self._inquiry("I1 exactly once", TITLE_ONCE)
        account, evidence = self._account, self._evidence
        self._defects(inquiry, ONCE)
        for chain in account.chains:
            for submission in chain.unshown:
                covering = account.audience.covering(submission.invoked_ns, evidence.ended_ns)
                sentence = self._words.lost(chain, submission, covering)
                told = self._told(chain) and chain.name not in account.called_alike
                self._lost(inquiry, covering if told else 0, sentence)
        self._nameless(inquiry)
        for name in account.naming.shared:
            inquiry.doubt(f"several users are called {name}, and their events were not told apart")
        for name in account.naming.unsure:
            inquiry.doubt(
                f"what the first gain of {name} was cannot be told: the board before the run may "
                "have shown another user of that name"
            )
        for name in account.naming.guessed:
            users = sorted(chain.user for chain in account.chains if chain.name == name)
            inquiry.doubt(
                f"users {', '.join(map(str, users))} may all be called {name}: if they are not, an "
                "event was shown for another user"
            )
        self._others(inquiry)
        if not self._acknowledged:
            inquiry.doubt("no submission was accepted")
        shown = [s for chain in account.chains for s, _ in chain.shown]
        once = sum(s.outcome is Outcome.OK for s in shown)
        refused = sum(s.outcome is Outcome.FAIL for s in evidence.submissions)
        return inquiry.conclude(
            f"{once:,} of {self._acknowledged:,} acknowledged submissions were shown by an event "
            f"of their own, {refused:,} refused were not; {self._unknown(shown)}"
            f"{len(account.chains):,} of {len(account.by_user):,} users were told by their names",
            {"acknowledged": self._acknowledged, "shown_once": once},
        )

    def _nameless(self, inquiry: Inquiry) -> None:
        """Users of whom nothing was shown, as far as names tell."""
        account, ended_ns = self._account, self._evidence.ended_ns
        owed = {
            user: sent
            for user in account.naming.nameless
            if (sent := [s for s in account.by_user[user] if s.outcome is Outcome.OK])
        }
        # A name of nobody may be that of users of no name: of several, or of one who was renamed.
        alike = bool(account.called_alike) or bool(account.naming.foreign)
        for user, sent in owed.items():
            covering = account.audience.covering(sent[0].invoked_ns, ended_ns)
            sentence = self._words.nameless(user, sent, covering)
            if alike:
                inquiry.doubt(f"users may be called alike, or were renamed: {sentence}")
            else:
                self._lost(inquiry, covering if account.covered else 0, sentence)

    def _lost(self, inquiry: Inquiry, covering: int, sentence: str) -> None:
        if not self._evidence.drained:
            inquiry.doubt(f"{sentence}, but the run had not settled")
        elif self._account.late:
            inquiry.doubt(f"{sentence}, but {self._account.late}")
        elif not covering:
            inquiry.doubt(f"{NOBODY}: {sentence}")
        else:
            inquiry.violation(sentence)

    def _lacking(self) -> bool:
        """Whether something acknowledged was not shown."""
        account = self._account
        return any(chain.unshown for chain in account.chains) or bool(account.naming.nameless)

    def _unknown(self, shown: Sequence[Submission]) -> str:
        """What became of the submissions without a definite answer, as an interval."""
        evidence = self._evidence
        unknown = [s for s in evidence.submissions if s.outcome is Outcome.UNKNOWN]
        if not unknown:
            return ""
        applied = {id(s) for s in shown if s.outcome is Outcome.UNKNOWN}
        applied |= {
            id(s)
            for chain in self._account.chains
            for defect in chain.defects
            if defect.flaw is Flaw.MERGED
            for s in defect.submissions
            if s.outcome is Outcome.UNKNOWN
        }
        unsure = sum(
            id(s) not in applied
            and not (
                evidence.drained
                and not self._account.late
                and self._account.audience.covering(s.invoked_ns, evidence.ended_ns)
            )
            for s in unknown
        )
        least, most = len(applied), len(applied) + unsure
        span = f"{least:,}" if least == most else f"between {least:,} and {most:,}"
        return f"{span} of {len(unknown):,} without an answer were applied; "

    def sums(self) -> Finding:
        """I2, as far as streams show it."""
        inquiry = self._inquiry("I2 ledger", TITLE_SUMS)
        account = self._account
        self._defects(inquiry, SUMS)
        if account.rising:
            for sentence in self._falls():
                inquiry.violation(sentence)
        if self._evidence.beyond:
            examples = ", ".join(f"{u} {s}" for u, s in self._evidence.beyond_examples[:NAMES_TOLD])
            inquiry.violation(
                f"{self._evidence.beyond:,} events more than twice what was sent, such as "
                f"{examples}: nobody sent what they show"
            )
        self._others(inquiry)
        if not account.events:
            inquiry.doubt("no event was shown")
        told = sum(len(chain.shown) for chain in account.chains)
        bases = sum(chain.base_known for chain in account.chains)
        return inquiry.conclude(
            f"{told:,} events, each against the one before it of the same name; the first of each "
            f"name against the board for {bases:,} names, for the others only the sum is compared"
        )

    def _falls(self) -> Iterator[str]:
        """Scores that fell for a listener, though no loss was sent."""
        account, words = self._account, self._words
        suspect = {id(d.event) for c in account.chains for d in c.defects}
        alone = Counter(chain.name for chain in account.chains)
        ours = {
            chain.name: chain
            for chain in account.chains
            if alone[chain.name] == 1 and chain.name not in account.called_alike
        }
        for process in account.audience.processes:
            for name, shown in account.audience.names(process).items():
                if name not in ours:
                    continue
                true = [e for e in shown if id(e) not in suspect and not e.state]
                for earlier, later in pairwise(true):
                    if later.score < earlier.score:
                        yield from self._fall(process, ours[name], earlier, later)
        for connection in account.audience.connections:
            for number, other in connection.late:
                late = account.audience.event(connection.process, number)
                before = account.audience.event(connection.process, other)
                if late is None or before is None or late.name not in ours:
                    continue
                if late.score < before.score and not {id(late), id(before)} & suspect:
                    yield (
                        f"{words.whose(ours[late.name])} fell from {before.score} to {late.score} "
                        f"for {connection.listener}, though no loss was sent"
                    )

    def _fall(self, process: str, chain: Chain, high: Shown, low: Shown) -> Iterator[str]:
        """The connections of a process that were sent the lower score after the higher one."""
        number = high.numbers[process]
        fell = [
            connection.listener
            for connection in self._account.audience.connections
            if connection.process == process
            and connection.has(high)
            and connection.has(low)
            and all(late != number for late, _ in connection.late)
        ]
        if fell:
            yield (
                f"{self._words.whose(chain)} fell from {high.score} to {low.score} for "
                f"{len(fell)} listeners, such as {fell[0]}, though no loss was sent: "
                f"{self._words.event(low)} came after the {self._words.event(high)}"
            )

    def reads(self) -> Finding:
        """I3, without numbers of changes."""
        inquiry = self._inquiry("I3 reads", TITLE_READS)
        evidence, account, words = self._evidence, self._account, self._words
        reads = evidence.reads
        if not reads:
            inquiry.doubt("no read succeeded")
        for read in reads:
            if wrong := disorder_of(read):
                inquiry.violation(f"the board read at {words.at(read.done_ns)} {wrong}")
        followed = [
            chain
            for chain in account.chains
            if chain.name not in account.called_alike
            and account.audience.followed_to_the_end(None, self._since_ns(chain.user))
        ]
        for read, name, score in unshown_rows(reads, followed, account.of_name):
            self._differs(
                inquiry,
                read,
                name,
                f"the board read at {words.at(read.done_ns)} shows {name} with {score}, which no "
                "event showed",
            )
        last = self._last_scores()
        if reads:
            possible: dict[str, frozenset[int]] = {}
            for chain in account.chains:
                possible[chain.name] = possible.get(chain.name, frozenset()) | possible_scores(
                    chain
                )
            final = reads[-1]
            for name, wrong in difference_at_rest(
                final, last, possible, account.naming.foreign, full=full_of(evidence)
            ):
                sentence = f"the board read at {words.at(final.done_ns)}, at rest, {wrong}"
                if evidence.drained and not (account.late and self._lacking()):
                    self._differs(inquiry, final, name, sentence, last.get(name))
                else:
                    inquiry.doubt(f"{sentence}, but {account.late or 'the run had not settled'}")
        return inquiry.conclude(
            f"{len(reads):,} reads against the events of {len(last):,} names; the last one against "
            "the last score of each"
        )

    def _differs(
        self,
        inquiry: Inquiry,
        read: BoardRead,
        name: str,
        sentence: str,
        before: int | None = None,
    ) -> None:
        """A row with another score than that of the name's events, or than `before` where it has
        none. Where scores fall, somebody who never submits may come to stand on the board, and be
        called as others are."""
        account = self._account
        bases = [chain.base for chain in account.chains if chain.name == name]
        shown = sorted(account.of_name.get(name, ()), key=lambda event: event.time_ns)
        base = bases[0] if bases else before
        full = full_of(self._evidence)
        if name and not account.rising and may_be_namesake(read, shown, base, full=full):
            inquiry.doubt(f"another user may be called {name}: {sentence}")
        else:
            inquiry.violation(sentence)

    def _last_scores(self) -> dict[str, int]:
        """The score that each name was last shown with; that of the first board without events."""
        account = self._account
        last = {name: _newest(shown).score for name, shown in account.of_name.items()}
        untold: set[str] = account.called_alike | set(account.naming.shared)
        seen: set[str] = set()
        since = {chain.name: self._since_ns(chain.user) for chain in account.chains}
        for name, shown in account.of_name.items():
            # What nobody was connected for may have changed a score since.
            newest = shown[-1] if account.rising else _newest(shown)
            if not (account.covered or account.rising) or not (
                account.audience.followed_to_the_end(newest, since.get(name, 0))
            ):
                untold.add(name)
        for chain in account.chains:
            if chain.name in seen or (chain.defects and not account.covered):
                untold.add(chain.name)
            seen.add(chain.name)
            if chain.last is not None:
                last[chain.name] = chain.last
        # A renamed user's earlier name is on no board any more.
        renamed = {e.name for c in account.chains for _, e in c.shown if e.name != c.name}
        untold |= renamed - {chain.name for chain in account.chains}
        untold.update(account.naming.renamed)
        early = [r for r in self._evidence.reads if r.done_ns <= self._first_ns]
        if early and account.audience.followed_to_the_end(None, self._first_ns):
            for name, score in early[-1].scores:
                last.setdefault(name, score)
        return {name: score for name, score in last.items() if name not in untold}

    def streams(self) -> Finding:
        """I5, connection by connection."""
        inquiry = self._inquiry("I5 streams", TITLE_STREAMS)
        account, words = self._account, self._words
        connections = account.audience.connections
        for connection in connections:
            for sentence in connection.violations:
                inquiry.violation(f"{connection.listener}: {sentence}")
        self._defects(inquiry, (Flaw.AGAIN,))
        lacking = 0
        for lack in account.audience.lacks():
            lacking += lack.count
            inquiry.violation(words.lack(lack))
        if not connections:
            inquiry.doubt("nobody listened")
        elif not any(c.final for c in connections):
            inquiry.doubt("no listener was still there after the drain")
        final = len({c.listener for c in connections if c.final})
        return inquiry.conclude(
            f"{len(self._listeners):,} listeners with {len(connections):,} connections, {final:,} "
            f"to the end; each against the {len(account.events):,} different events of all, for "
            "the time it was connected",
            {
                "listeners": len(self._listeners),
                "to_the_end": final,
                "events": len(account.events),
                "lacking": lacking,
            },
        )

    def liveness(self, visible_within_s: float, *, asked: bool) -> Finding:
        """I10. Who shows no ids has promised no time: a limit convicts where it was asked for."""
        inquiry = self._inquiry("I10 liveness", TITLE_LIVENESS)
        followed, slowest_ns = 0, 0
        for chain in self._account.chains:
            for submission, event in chain.shown:
                if submission.ok_ns is None:
                    continue
                followed += 1
                took_ns = event.time_ns - submission.ok_ns
                slowest_ns = max(slowest_ns, took_ns)
                if took_ns > visible_within_s * 1e9:
                    sentence = (
                        f"{self._words.whose(chain)}: {self._words.sent(submission)} was first "
                        f"shown {took_ns / 1e9:.1f} s after its answer, by "
                        f"{self._words.event(event)}"
                    )
                    if asked:
                        inquiry.violation(sentence)
                    else:
                        inquiry.doubt(f"{sentence}; {NO_TIME}")
        if not followed:
            inquiry.doubt("no accepted submission could be followed to a listener")
        return inquiry.conclude(
            f"{followed:,} submissions followed to the first listener, slowest "
            f"{slowest_ns / 1e6:.0f} ms after its answer, allowed {visible_within_s:g} s"
        )


def _newest(shown: Sequence[Shown]) -> Shown:
    return max(shown, key=lambda event: event.time_ns)


def check(
    evidence: Evidence, account: Account, *, visible_within_s: float, asked: bool
) -> list[Finding]:
    """The findings on a run without ids to follow."""
    return Judge(evidence, account).findings(visible_within_s=visible_within_s, asked=asked)
