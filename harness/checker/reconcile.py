"""Compares what was acknowledged and what listeners saw with the board itself.

The simple half of the verdict: counts and sums, from MySQL's ledger when it can
be read, else from `GET /scores` before and after. The full judgement of every
operation in order is `harness.checker`'s.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.evidence.board_look import LedgerRow, Look


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A submission as the generator knows it. `submission_id` is None where no answer named one."""

    number: int
    user: int
    increment: int
    outcome: str
    submission_id: bytes | None


@dataclass(kw_only=True)
class Findings:
    """What does not add up, in sentences, and the counts behind it."""

    witness: str
    problems: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Nothing was found wrong."""
        return not self.problems


def against_ledger(
    attempts: Iterable[Attempt], rows: Iterable[LedgerRow], before: Look, after: Look
) -> Findings:
    """Every acknowledged submission applied exactly once, and nothing else applied.

    A row that answers no acknowledged submission must be one whose answer was
    lost: same user and increment as an unknown attempt, each used once.
    """
    findings = Findings(witness="MySQL ledger")
    acknowledged: dict[bytes, Attempt] = {}
    unknown: Counter[tuple[int, int]] = Counter()
    repeated = nameless = 0
    for attempt in attempts:
        if attempt.outcome == "ok":
            if attempt.submission_id is None:
                nameless += 1
            elif attempt.submission_id in acknowledged:
                repeated += 1
            else:
                acknowledged[attempt.submission_id] = attempt
        elif attempt.outcome == "unknown":
            unknown[(attempt.user, attempt.increment)] += 1
    lost_answers = sum(unknown.values())
    applied: set[bytes] = set()
    wrong = foreign = settled_unknown = 0
    rejected: Counter[str] = Counter()
    totals: Counter[int] = Counter()
    last_score: dict[int, int] = {}
    expected_seq = before.seq
    holes = 0
    for row in rows:
        if row.seq is None:
            rejected[row.outcome] += 1
            continue
        expected_seq += 1
        if row.seq != expected_seq:
            holes += 1
            expected_seq = row.seq
        totals[row.user_id] += row.increment
        if row.score_after is not None:
            last_score[row.user_id] = row.score_after
        attempt_made = acknowledged.get(row.submission_id)
        if attempt_made is not None:
            applied.add(row.submission_id)
            if (attempt_made.user, attempt_made.increment) != (row.user_id, row.increment):
                wrong += 1
        elif unknown[(row.user_id, row.increment)] > 0:
            unknown[(row.user_id, row.increment)] -= 1
            settled_unknown += 1
        else:
            foreign += 1
    lost = len(acknowledged) - len(applied) - rejected.total()
    scores_off = 0
    if before.scores is not None and after.scores is not None:
        for user, name in after.names.items():
            expected = before.scores.get(name, 0) + totals[user]
            if after.scores[name] != expected or last_score.get(user, expected) != expected:
                scores_off += 1
    findings.counts = {
        "acknowledged": len(acknowledged) + repeated + nameless,
        "applied_once": len(applied),
        "lost": lost,
        "rejected_after_acknowledgement": rejected.total(),
        "same_id_twice": repeated,
        "without_id": nameless,
        "wrong_content": wrong,
        "unexplained_rows": foreign,
        "unknown": lost_answers,
        "unknown_applied": settled_unknown,
        "sequence_holes": holes,
        "scores_off": scores_off,
    }
    for name, sentence in (
        ("lost", "{} acknowledged submissions are not in the ledger"),
        ("same_id_twice", "{} acknowledged submissions share an id with another"),
        ("without_id", "{} acknowledgements carry no submission id"),
        ("wrong_content", "{} rows name another user or increment than was sent"),
        ("unexplained_rows", "{} applied rows answer nothing that this run sent"),
        ("sequence_holes", "the ledger's sequence has {} holes"),
        ("scores_off", "{} users' scores differ from the sum of their rows"),
    ):
        if findings.counts[name]:
            findings.problems.append(sentence.format(f"{findings.counts[name]:,}"))
    for outcome, count in rejected.items():
        findings.problems.append(f"{count:,} acknowledged submissions were decided {outcome}")
    return findings


def against_board(attempts: Iterable[Attempt], before: Look, after: Look) -> Findings:
    """The black-box form: seq and total points grew by what was acknowledged.

    Lost answers widen both to an interval. Cannot see a loss and a duplicate of
    the same size cancel out.
    """
    findings = Findings(witness="GET /scores before and after")
    counted = Counter[str]()
    points = Counter[str]()
    for attempt in attempts:
        counted[attempt.outcome] += 1
        points[attempt.outcome] += attempt.increment
    grown = after.seq - before.seq
    low, high = counted["ok"], counted["ok"] + counted["unknown"]
    findings.counts = {
        "acknowledged": counted["ok"],
        "unknown": counted["unknown"],
        "changes": grown,
    }
    if before.seq < 0 or after.seq < 0:
        findings.witness += " (the server tells no seq)"
    elif not low <= grown <= high:
        findings.problems.append(
            f"{grown:,} changes for {counted['ok']:,} acknowledged submissions"
            + (f" and {counted['unknown']:,} unknown ones" if counted["unknown"] else "")
        )
    if before.scores is None or after.scores is None:
        findings.problems.append("the board was never at rest, so its points cannot be compared")
        return findings
    gained = sum(after.scores.values()) - sum(before.scores.values())
    findings.counts["points_acknowledged"] = points["ok"]
    findings.counts["points_gained"] = gained
    if not points["ok"] <= gained <= points["ok"] + points["unknown"]:
        findings.problems.append(
            f"the board gained {gained:,} points, acknowledged were {points['ok']:,}"
            + (f" and {points['unknown']:,} unknown" if points["unknown"] else "")
        )
    return findings


def of_listeners(
    accounts: Sequence[Mapping[str, Any]],
    latest: Iterable[Mapping[str, Sequence[int]]],
    after: Look,
    final_seq: int,
) -> Findings:
    """Every listener stands at the last change, saw all in order, and saw what the board says."""
    findings = Findings(witness="listeners")
    totals: Counter[str] = Counter()
    for account in accounts:
        for name in (
            "listeners",
            "behind",
            "missing",
            "gaps",
            "duplicates",
            "reorders",
            "resets",
            "broken",
            "conflicts",
        ):
            totals[name] += int(account.get(name, 0))
        for cause, count in account.get("disconnects", {}).items():
            totals["disconnects"] += count
            totals[f"disconnects_{cause}"] += count
    wrong = 0
    newest: dict[str, tuple[int, int]] = {}
    for part in latest:
        for user, (seq, score) in part.items():
            if user not in newest or newest[user][0] < seq:
                newest[user] = (seq, score)
            elif newest[user][0] == seq and newest[user][1] != score:
                totals["conflicts"] += 1
    if after.scores is not None and after.seq == final_seq:
        wrong = sum(1 for user, (_, score) in newest.items() if after.scores.get(user) != score)
    totals["wrong_scores"] = wrong
    findings.counts = dict(totals)
    for name, sentence in (
        ("behind", "{} listeners do not end at the last change"),
        # A reset is lawful, but what lies before it was never delivered and is in no percentile.
        ("resets", "{} times a listener was sent past changes it never got"),
        ("missing", "{} events never reached a listener that should have had them"),
        ("duplicates", "{} events came twice"),
        ("reorders", "{} events came out of order"),
        ("broken", "{} events or streams could not be read"),
        ("conflicts", "{} events differ between listeners"),
        ("wrong_scores", "{} users' last seen scores differ from the board"),
    ):
        if totals[name]:
            findings.problems.append(sentence.format(f"{totals[name]:,}"))
    if after.seq != final_seq:
        findings.problems.append(
            f"the board moved from {final_seq} to {after.seq} while listeners were compared"
        )
    return findings
