"""Follows each submission and each event to the listeners, after the run. Pure.

Neither end knows the other: the sender knows submissions, the listeners know
seqs. The ledger joins them, so a submission's journey needs MySQL, unless events were explained
by their content; an event's does not, since its commit time is on the stream.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from harness.checker import Evidence
from harness.checker.by_content import Account
from harness.checker.evidence import Submission
from harness.engines.delivery_spread import COLUMNS, DeliverySpread
from harness.evidence.history import Outcome
from harness.judge.record import RunRecord

NEVER_US = 1 << 62
MARGIN_S = 10.0
REACH_HISTOGRAMS = ("reach_first", "reach_median", "reach_last")
JOURNEY_HISTOGRAMS = ("submit_deliver_first", "submit_deliver_median", "submit_deliver_last")


def reached(spreads: Sequence[DeliverySpread]) -> npt.NDArray[np.int64]:
    """Rows of commit, first, median and last time, Unix µs: one for each event that was heard.

    Over several listener pools the median is the latest of theirs: never better than the truth.
    """
    known = [spread for spread in spreads if spread.base >= 0]
    base = min((spread.base for spread in known), default=0)
    end = max((spread.base + len(spread.columns["reached"]) for spread in known), default=0)
    committed, first, median, last = times = np.zeros((4, end - base), dtype=np.int64)
    first += NEVER_US
    for spread in known:
        column = {name: np.asarray(spread.columns[name], dtype=np.int64) for name in COLUMNS}
        start = spread.base - base
        span = slice(start, start + len(column["reached"]))
        had = column["reached"] > 0
        np.maximum(committed[span], column["committed_us"], out=committed[span], where=had)
        np.minimum(first[span], column["first_us"], out=first[span], where=had)
        np.maximum(median[span], column["median_us"], out=median[span], where=had)
        np.maximum(last[span], column["last_us"], out=last[span], where=had)
    return times[:, (committed > 0) & (last > 0)].T


def journeys(
    seqs: Iterable[tuple[int, int]], due_us: Mapping[int, int], spreads: Sequence[DeliverySpread]
) -> Iterator[tuple[int, int, int, int]]:
    """For each (number, seq) that listeners saw: due (Unix µs), then µs to first, median, last."""
    for number, seq in seqs:
        times = [found for spread in spreads if (found := spread.at(seq)) is not None]
        yield from _journey(due_us.get(number), times)


def _journey(
    due_us: int | None, times: Sequence[tuple[int, int, int]]
) -> Iterator[tuple[int, int, int, int]]:
    """Over several pools the median is the latest of theirs: never better than the truth."""
    if due_us is not None and times:
        yield (
            due_us,
            min(t[0] for t in times) - due_us,
            max(t[1] for t in times) - due_us,
            max(t[2] for t in times) - due_us,
        )


def complete_series(
    record: RunRecord, evidence: Evidence | None, account: Account | None = None
) -> None:
    """Put into the series what only the end of a run can tell: spread and end-to-end times.

    `account` explains events without ids to follow by the submissions that they show.
    """
    _add_spread(record, record.spreads)
    if not record.spreads:
        return
    if account is not None:
        shown = [pair for chain in account.chains for pair in chain.shown]
        due_us = _due_us(record, [_number(s) for s, _ in shown])
        found: list[tuple[int, int, int, int]] = []
        by_process = {spread.process: spread for spread in record.spreads}
        for submission, event in shown:
            times = [
                at
                for process, seq in event.numbers.items()
                if process in by_process and (at := by_process[process].at(seq)) is not None
            ]
            found += _journey(due_us.get(_number(submission)), times)
    elif evidence is not None and evidence.database is not None:
        seq_of = {change.sid: change.seq for change in evidence.changes}
        seqs = [
            (_number(submission), seq_of[submission.sid])
            for submission in evidence.submissions
            if submission.sid in seq_of and submission.outcome is Outcome.OK
        ]
        due_us = _due_us(record, [number for number, _ in seqs])
        found = [*journeys(seqs, due_us, record.spreads)]
    else:
        return
    rows = np.array(found, dtype=np.int64).reshape(-1, 4)
    _record(record, JOURNEY_HISTOGRAMS, rows[:, 0], rows[:, 1:])


def _add_spread(record: RunRecord, spreads: Sequence[DeliverySpread]) -> None:
    """Replace what listener pools could tell meanwhile of first to last listeners by what was so.

    Each counted by itself, and without the listeners that were seconds late. Where
    a pool had too many events to send them there is no figure then.
    """
    for second in record.series.seconds.values():
        for name in REACH_HISTOGRAMS:
            second.drop(name)
    if any(spread.left_out for spread in spreads):
        return
    times = reached(spreads)
    _record(record, REACH_HISTOGRAMS, times[:, 0], times[:, 1:] - times[:, :1])


def _number(submission: Submission) -> int:
    return int((submission.key or "-0").rpartition("-")[2])


def _due_us(record: RunRecord, numbers: Sequence[int]) -> dict[int, int]:
    """When these submissions were due, Unix µs. Only the schedule knows."""
    begin_us = round(record.started_unix_s * 1e6)
    lacking = set(numbers)
    found = {}
    settings = record.settings
    # Of a run that was stopped nothing is due later than a moment after what was measured.
    ran_s = settings.warmup_s + (settings.duration_s or record.measured_s + MARGIN_S)
    schedule = settings.workload.schedule(ran_s)
    while lacking and (step := next(schedule, None)) is not None:
        number, due = step
        if number in lacking:
            lacking.remove(number)
            found[number] = begin_us + due // 1000
    return found


def _record(
    record: RunRecord,
    names: Sequence[str],
    began_us: npt.NDArray[np.int64],
    took_us: npt.NDArray[np.int64],
) -> None:
    """Add durations, a column for each name, to the seconds in which they began (Unix µs)."""
    if not len(began_us):
        return
    zero_us = round(record.started_unix_s * 1e6) - record.begin_second * 1_000_000
    seconds = (began_us - zero_us) // 1_000_000
    order = np.argsort(seconds, kind="stable")
    numbers, starts = np.unique(seconds[order], return_index=True)
    for number, rows in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
        second = record.series.seconds[number]
        for column, name in enumerate(names):
            second.histograms[name].record_many(took_us[rows, column])
        second.pack()
