"""I5, streams: each listener gets every change once, in order, with the ledger's payload."""

from bisect import bisect_left

from harness.checker.evidence import Evidence
from harness.checker.prefix import Prefix
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.history import FINAL_CAUSE, Listen

TITLE = "no listener misses a change, across reconnects, and each change is the ledger's own"
KEPT_SURELY = 0.5
"""The part of the history it claims that a server surely has: it forgets whole pieces, and those
early that are large."""


def check(evidence: Evidence, *, resets_allowed: bool = True) -> Finding:
    """The verdict on I5.

    With `resets_allowed` false a reset is held against the server: what lies before it was
    never delivered, and is in no percentile.
    """
    inquiry = Inquiry("I5 streams", TITLE, evidence.flaws)
    for disagreement in evidence.disagreements:
        inquiry.violation(disagreement)
    _payloads(inquiry, evidence)
    redelivered = 0
    finished = 0
    seqs = sorted(evidence.events)
    jumps: list[tuple[str, Listen]] = []
    for listener, records in evidence.listens.items():
        redelivered += _chain(inquiry, seqs, listener, records)
        _resets(inquiry, evidence, listener, records)
        jumps += [(listener, r) for r in records if r.what in ("reset", "snapshot")]
        finished += _final(inquiry, evidence, listener, records)
    _boards(inquiry, evidence, jumps)
    _last_seen(inquiry, evidence)
    resets = sum(record.what == "reset" for _, record in jumps)
    if resets and not resets_allowed:
        inquiry.violation(f"{resets:,} times a listener was sent past changes it never got")
    if not evidence.listens:
        inquiry.doubt("nobody listened")
    elif not finished:
        inquiry.doubt("no listener was still there after the drain")
    return inquiry.conclude(
        f"{len(evidence.listens)} listeners, {finished} to the end, {len(evidence.events)} "
        f"different changes, {len(jumps)} resets and snapshots, {redelivered} redelivered",
        {
            "listeners": len(evidence.listens),
            "to_the_end": finished,
            "events": len(evidence.events),
            "resets": resets,
        },
    )


def _payloads(inquiry: Inquiry, evidence: Evidence) -> None:
    if evidence.database is None:
        return
    ledger = {change.seq: change for change in evidence.changes if not change.turn}
    for seq in sorted(evidence.events):
        event, change = evidence.events[seq], ledger.get(seq)
        if seq <= evidence.base_seq:
            continue
        if change is None:
            inquiry.violation(
                f"change {seq} ({event.user} {event.score}) was sent to listeners, "
                "the ledger has no such row"
            )
        elif (change.user, change.score) != (event.user, event.score):
            inquiry.violation(
                f"change {seq} was sent as {event.user} {event.score}, the ledger has "
                f"{change.user} {change.score} (row {change.sid})"
            )


def _last_seen(inquiry: Inquiry, evidence: Evidence) -> None:
    """Without the database: the score last shown of each user is the final board's."""
    board = evidence.final_board
    if evidence.database is not None or board is None or board.seq != evidence.last_seq:
        return
    scores = dict(board.scores)
    newest = {evidence.events[seq].user: seq for seq in sorted(evidence.events)}
    for user, seq in newest.items():
        shown = evidence.events[seq].score
        if scores.get(user) != shown:
            inquiry.violation(
                f"{user} was last shown with {shown} (change {seq}), the board in the end has "
                f"{scores.get(user)}"
            )


def _chain(inquiry: Inquiry, seqs: list[int], listener: str, records: list[Listen]) -> int:
    """Walk one transcript; returns how many changes came again."""
    cursor: int | None = None
    redelivered = 0
    for record in records:
        redelivered += record.redelivered
        match record.what:
            case "open" if record.last_event_id is None:
                # Another listener, who knows of nothing before.
                cursor = None
            case "violation":
                inquiry.violation(f"{listener}: {record.detail}")
            case "range" if record.first is not None and record.last is not None:
                # A gap the reader saw stands as its own violation record before this range.
                if cursor is not None and record.first <= cursor:
                    inquiry.violation(
                        f"{listener} had {cursor} and was given {record.first} again as new"
                    )
                missing = _first_missing(seqs, record.first, record.last)
                if missing is not None:
                    inquiry.violation(
                        f"{listener} claims {record.first}–{record.last}, "
                        f"but nobody recorded change {missing}"
                    )
                cursor = record.last
            case "reset" | "snapshot":
                cursor = record.seq
    return redelivered


def _resets(inquiry: Inquiry, evidence: Evidence, listener: str, records: list[Listen]) -> None:
    """Each reset had to be given: the listener lacked more than the server keeps.

    What a fault may have made the server forget is not judged: only where none was in force, or
    left to recover from, since the listener last left.
    """
    if evidence.limits is None or evidence.limits.history_changes is None:
        return
    kept = int(evidence.limits.history_changes * KEPT_SURELY)
    cursor: int | None = None
    since_ns: int | None = None
    for record in records:
        match record.what:
            case "open":
                cursor = record.last_event_id
                since_ns = record.time_ns if since_ns is None else since_ns
            case "range" if record.last is not None:
                cursor = record.last
            case "close":
                since_ns = record.time_ns
            case "snapshot":
                cursor = record.seq
            case "reset":
                if (
                    cursor is not None
                    and since_ns is not None
                    and record.seq is not None
                    and cursor <= record.seq <= cursor + kept
                    and sum(evidence.healthy_ns(since_ns, record.time_ns))
                    == record.time_ns - since_ns
                ):
                    inquiry.violation(
                        f"{listener} had {cursor} and was reset to {record.seq}, though the "
                        f"server keeps {evidence.limits.history_changes} changes and no fault "
                        "was on since it last left"
                    )
                cursor = record.seq


def _first_missing(seqs: list[int], first: int, last: int) -> int | None:
    """The first of `first` to `last` that is not in the sorted `seqs`."""
    start = bisect_left(seqs, first)
    if bisect_left(seqs, last + 1, start) - start == last - first + 1:
        return None
    return next(seq for seq in range(first, last + 1) if seq not in set(seqs[start:]))


def _boards(inquiry: Inquiry, evidence: Evidence, jumps: list[tuple[str, Listen]]) -> None:
    prefix = Prefix(evidence)
    if jumps and not prefix.complete:
        inquiry.doubt("resets cannot be compared: no board record and no database snapshot")
        return
    for listener, record in sorted(jumps, key=lambda jump: jump[1].seq or 0):
        if record.seq is None or not prefix.reaches(record.seq):
            inquiry.violation(
                f"{listener} was given a {record.what} at {record.seq}, which is no change known"
            )
            continue
        wrong = prefix.difference(record.scores or [], limit=10)
        if wrong is not None:
            inquiry.violation(f"{listener}: {record.what} at {record.seq} {wrong}")


def _final(inquiry: Inquiry, evidence: Evidence, listener: str, records: list[Listen]) -> int:
    """1 when this listener stayed to the end; then its cursor must be the board's."""
    last = records[-1]
    if last.what != "close" or last.detail != FINAL_CAUSE or not evidence.drained:
        return 0
    if last.last != evidence.last_seq:
        inquiry.violation(
            f"{listener} stayed to the end and stands at {last.last}, the board at "
            f"{evidence.last_seq}"
        )
    return 1
