"""Follows each submission and each event to the listeners, after the run. Pure.

Neither end knows the other: the sender knows submissions, the listeners know
seqs. The ledger joins them, so a submission's journey needs MySQL as a witness;
an event's does not, since its commit time is on the stream.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from harness.checker.reconcile import Attempt
from harness.engines.reach import COLUMNS, Reach
from harness.evidence.board_look import LedgerRow

NEVER_US = 1 << 62


def reached(reaches: Sequence[Reach]) -> npt.NDArray[np.int64]:
    """Rows of commit, first, median and last time, Unix µs: one for each event that was heard.

    Over several swarms the median is the latest of theirs: never better than the truth.
    """
    known = [reach for reach in reaches if reach.base >= 0]
    base = min((reach.base for reach in known), default=0)
    end = max((reach.base + len(reach.columns["reached"]) for reach in known), default=0)
    committed, first, median, last = times = np.zeros((4, end - base), dtype=np.int64)
    first += NEVER_US
    for reach in known:
        column = {name: np.asarray(reach.columns[name], dtype=np.int64) for name in COLUMNS}
        start = reach.base - base
        span = slice(start, start + len(column["reached"]))
        had = column["reached"] > 0
        np.maximum(committed[span], column["committed_us"], out=committed[span], where=had)
        np.minimum(first[span], column["first_us"], out=first[span], where=had)
        np.maximum(median[span], column["median_us"], out=median[span], where=had)
        np.maximum(last[span], column["last_us"], out=last[span], where=had)
    return times[:, (committed > 0) & (last > 0)].T


def journeys(
    attempts: Iterable[Attempt],
    rows: Iterable[LedgerRow],
    due_us: Mapping[int, int],
    reaches: Sequence[Reach],
) -> Iterable[tuple[int, int, int, int]]:
    """For each submission that listeners saw: due (Unix µs), then µs to first, median, last.

    Over several swarms the median is the latest of theirs: never better than the truth.
    """
    seqs = {row.submission_id: row.seq for row in rows if row.seq is not None}
    for attempt in attempts:
        seq = seqs.get(attempt.submission_id) if attempt.submission_id else None
        due = due_us.get(attempt.number)
        if seq is None or due is None:
            continue
        times = [found for reach in reaches if (found := reach.at(seq)) is not None]
        if times:
            yield (
                due,
                min(t[0] for t in times) - due,
                max(t[1] for t in times) - due,
                max(t[2] for t in times) - due,
            )
