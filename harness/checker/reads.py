"""I3, reads show exactly a prefix of the changes; I4, so does Redis; I6, no session is ever taken
back.

A read is not promised to be fresh: 202 says durable, not visible. It is promised to be whole
(the board at exactly the seq it names), to show nothing before it was sent, and never to go
back for one client.
"""

import heapq
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Protocol, TypeVar

from harness.checker.evidence import Evidence
from harness.checker.limits import forgets
from harness.checker.prefix import Prefix
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.history import RedisSample

TITLE_WHOLE = "every read shows the board after exactly the changes it claims"
TITLE_REDIS = "Redis always holds exactly the ledger up to its cursor, and in the end all of it"
TITLE_REGRESS = "no client and no listener is taken back to an older board"


class Timed(Protocol):
    """When a read began and ended, and how much it showed."""

    @property
    def invoked_ns(self) -> int:
        """Before its first byte was sent."""

    @property
    def done_ns(self) -> int:
        """After its last byte arrived."""

    @property
    def seq(self) -> int:
        """The changes that it claims."""


ReadT = TypeVar("ReadT", bound=Timed)


def check(evidence: Evidence) -> Finding:
    """The verdict on I3."""
    inquiry = Inquiry("I3 reads", TITLE_WHOLE, evidence.flaws)
    if not evidence.reads:
        inquiry.doubt("no read succeeded")
    prefix = Prefix(evidence)
    if not prefix.complete:
        inquiry.doubt("the first board is not known: no board record and no database snapshot")
    earliest = _earliest_possible(evidence)
    for read in sorted(evidence.reads, key=lambda read: read.seq):
        where = f"read by {read.client} (seq {read.seq})"
        if not prefix.reaches(read.seq):
            if evidence.incomplete or (read.seq > evidence.last_seq and not evidence.drained):
                inquiry.doubt(f"{where} is beyond the changes recorded")
                continue
            inquiry.violation(f"{where} claims changes up to {read.seq}, which nobody else saw")
            continue
        if prefix.complete:
            wrong = prefix.difference(read.scores, limit=read.limit, offset=read.offset)
            if wrong is not None:
                inquiry.violation(f"{where} {wrong}")
        first_ns = earliest.get(read.seq)
        if first_ns is not None and first_ns > read.done_ns:
            inquiry.violation(
                f"{where} shows change {read.seq} "
                f"{(first_ns - read.done_ns) / 1e6:.1f} ms before it was sent"
            )
    _final_reads(inquiry, evidence)
    return inquiry.conclude(f"{len(evidence.reads)} reads against {len(evidence.changes)} changes")


def _earliest_possible(evidence: Evidence) -> dict[int, int]:
    """For each seq, when the last of the submissions up to it was first sent."""
    by_sid = {s.sid: s.invoked_ns for s in evidence.submissions if s.sid is not None}
    earliest: dict[int, int] = {}
    latest = 0
    for change in evidence.changes:
        latest = max(latest, by_sid.get(change.sid, 0) if change.sid is not None else 0)
        earliest[change.seq] = latest
    return earliest


def _final_reads(inquiry: Inquiry, evidence: Evidence) -> None:
    """After the drain a read must show everything."""
    if not evidence.drained or not evidence.reads:
        return
    final = evidence.reads[-1]
    if final.seq < evidence.last_seq:
        inquiry.violation(
            f"the last read, by {final.client} after the drain, shows {final.seq} of "
            f"{evidence.last_seq} changes"
        )


def overtaken(reads: Iterable[ReadT]) -> Iterator[tuple[ReadT, ReadT]]:
    """Reads that show less than one which had ended before they began, each with that one."""
    ended: list[tuple[int, int, ReadT]] = []
    newest: ReadT | None = None
    for number, read in enumerate(sorted(reads, key=lambda read: read.invoked_ns)):
        while ended and ended[0][0] <= read.invoked_ns:
            earlier = heapq.heappop(ended)[2]
            if newest is None or earlier.seq > newest.seq:
                newest = earlier
        if newest is not None and read.seq < newest.seq:
            yield newest, read
        heapq.heappush(ended, (read.done_ns, number, read))


def check_regress(evidence: Evidence, *, one_order: bool = False) -> Finding:
    """The verdict on I6. Values may fall by negative increments; the seq may not.

    With `one_order` the reads of all clients are held against each other, whichever processes
    answered them.
    """
    inquiry = Inquiry("I6 no regress", TITLE_REGRESS, evidence.flaws)
    for earlier, later in overtaken(evidence.reads) if one_order else ():
        if earlier.client != later.client:
            inquiry.violation(
                f"{earlier.client} read the board at {earlier.seq} and {later.client}, "
                f"{(later.invoked_ns - earlier.done_ns) / 1e6:.1f} ms later, at {later.seq}"
            )
    newest: dict[str, tuple[int, int]] = {}
    for read in sorted(evidence.reads, key=lambda read: (read.client, read.invoked_ns)):
        done_ns, seq = newest.get(read.client, (0, -1))
        if read.invoked_ns >= done_ns and read.seq < seq:
            inquiry.violation(
                f"{read.client} read the board at {seq} and "
                f"{(read.invoked_ns - done_ns) / 1e6:.1f} ms later at {read.seq}"
            )
        if read.seq >= seq:
            newest[read.client] = (read.done_ns, read.seq)
    jumps = 0
    for listener, records in evidence.listens.items():
        cursor: int | None = None
        for record in records:
            if record.what in ("reset", "snapshot") and record.seq is not None:
                jumps += 1
                if cursor is not None and record.seq < cursor:
                    inquiry.violation(
                        f"{listener} had {cursor} and was set back to {record.seq} "
                        f"by a {record.what}"
                    )
                cursor = record.seq
            elif record.what == "range" and record.last is not None:
                cursor = record.last
    if not newest and not evidence.listens:
        inquiry.doubt("nobody read or listened")
    return inquiry.conclude(
        f"{len(newest)} reading clients, {len(evidence.listens)} listeners, {jumps} jumps"
    )


def check_redis(evidence: Evidence) -> Finding:
    """The verdict on I4. A sample with an empty epoch found Redis without a board."""
    inquiry = Inquiry("I4 Redis", TITLE_REDIS, evidence.flaws)
    filled = [sample for sample in evidence.redis if sample.epoch]
    if not filled:
        inquiry.doubt("Redis was never sampled with a board in it")
    _cursors(inquiry, evidence, filled)
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


def _cursors(inquiry: Inquiry, evidence: Evidence, samples: list[RedisSample]) -> None:
    """A copy never goes back, unless another server that lacked the last writes took over."""
    spans = [
        (fault.inject_ns, evidence.ended_ns if fault.over_ns is None else fault.over_ns)
        for fault in evidence.faults
        if forgets(fault)
    ]
    for earlier, later in pairwise(samples):
        if earlier.epoch == later.epoch and later.cursor < earlier.cursor:
            if any(begun <= later.time_ns and earlier.time_ns <= over for begun, over in spans):
                continue
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
