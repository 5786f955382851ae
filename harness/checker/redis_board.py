"""I4, Redis is a copy: each sample of it equals the ledger up to its own cursor."""

from itertools import pairwise

from harness.checker.evidence import Evidence
from harness.checker.prefix import Prefix
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.history import RedisSample

TITLE = "Redis always holds exactly the ledger up to its cursor, and in the end all of it"


def check(evidence: Evidence) -> Finding:
    """The verdict on I4. A sample with an empty epoch found Redis without a board."""
    inquiry = Inquiry("I4 Redis", TITLE)
    for flaw in evidence.flaws:
        inquiry.doubt(flaw)
    filled = [sample for sample in evidence.redis if sample.epoch]
    if not filled:
        inquiry.doubt("Redis was never sampled with a board in it")
    _cursors(inquiry, filled)
    prefix = Prefix(evidence)
    ids = {name: str(user) for user, name in evidence.names.items()}
    for sample in sorted(filled, key=lambda sample: sample.cursor):
        _equals(inquiry, sample, prefix, ids)
    if evidence.drained and evidence.redis:
        final = evidence.redis[-1]
        if final.cursor != evidence.last_seq:
            inquiry.violation(
                f"after the drain Redis stands at {final.cursor}, the ledger at {evidence.last_seq}"
            )
        if final.stream_last is not None and final.stream_last != evidence.last_seq:
            inquiry.violation(
                f"after the drain the Redis stream ends at {final.stream_last}, "
                f"the ledger at {evidence.last_seq}"
            )
    return inquiry.conclude(f"{len(filled)} samples against {len(evidence.changes)} changes")


def _cursors(inquiry: Inquiry, samples: list[RedisSample]) -> None:
    for earlier, later in pairwise(samples):
        if earlier.epoch == later.epoch and later.cursor < earlier.cursor:
            inquiry.violation(
                f"in epoch {later.epoch} the cursor fell from {earlier.cursor} to {later.cursor}"
            )


def _equals(inquiry: Inquiry, sample: RedisSample, prefix: Prefix, ids: dict[str, str]) -> None:
    if not prefix.reaches(sample.cursor):
        inquiry.violation(
            f"Redis (epoch {sample.epoch}) claims changes up to {sample.cursor}, "
            "which the ledger does not have"
        )
        return
    for name, score in prefix.scores.items():
        user = ids.get(name, name)
        if sample.scores.get(user) != score:
            inquiry.violation(
                f"Redis at cursor {sample.cursor} (epoch {sample.epoch}) has user {user} with "
                f"{sample.scores.get(user)}, the ledger up to there says {score}"
            )
            return
    if len(sample.scores) > len(prefix.scores):
        extra = sorted(set(sample.scores) - {ids.get(name, name) for name in prefix.scores})
        inquiry.violation(f"Redis at cursor {sample.cursor} has users that MySQL lacks: {extra}")
