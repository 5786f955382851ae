"""Judges a run whose record is complete, and writes its result file and page. The I/O of the end.

The file carries a version, the commit, the machine, the settings, one entry per second and whole
histograms, so a report never needs the run again.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil

from harness.checker import Finding, Verdict
from harness.checker.saved_run import (
    DatabaseUnreadable,
    JudgedRun,
    bytes_that_fit,
    judge_saved_run,
)
from harness.judge.collapse import collapses_of
from harness.judge.end_to_end import complete_series
from harness.judge.judgement import Judgement, judge_run
from harness.judge.record import RunRecord
from harness.measure.bottleneck import name_bottleneck, usage_of
from harness.measure.figures import DURATION_NAMES, PERCENTILES
from harness.measure.histogram import Histogram, lowest_of
from harness.measure.terminal import reason_of
from harness.report.charts import heat_bucket
from harness.report.document import (
    Fault,
    LimitResult,
    LoadResult,
    LoadVerdict,
    Machine,
    Resources,
    Sample,
    Second,
    Window,
)
from harness.report.listener_cost import listener_cost
from harness.report.load_page import html_report
from harness.report.result_files import keep_result, read_result_as, write_whole

log = logging.getLogger(__name__)
HEAT_HISTOGRAMS = ("response", "lag")
LABEL_CHARACTERS = 60


def judge_and_write(
    record: RunRecord, *, mysql_url: str = "", path: Path | None = None
) -> tuple[Judgement, Path]:
    """Judge by the saved evidence and write the result; the judgement and the file's path.

    The file stands beside the run's folder, and its name ends in the run's label, unless `path`
    names it; in the folder for temporary files where it cannot be written there. What cannot be
    read leaves correctness unknown.
    Raises OSError when the result can be written nowhere.
    """
    judged = _judged(record, mysql_url)
    complete_series(record, judged.evidence, judged.account)
    judgement = judge_run(record, judged.findings, judged.evidence)
    return judgement, _write(document_of(record, judgement), path_of(record, path))


def write_unfinished(record: RunRecord, reason: str, *, path: Path | None = None) -> Path:
    """Write what a run has measured so far: whatever happens next, this is on disk.

    Correctness is unknown, with the reason. Raises OSError.
    """
    judgement = judge_run(record, [_unjudged(reason)], None)
    return keep_result(document_of(record, judgement), path_of(record, path))


def path_of(record: RunRecord, path: Path | None) -> Path:
    """Where the result goes."""
    return path or record.folder.with_name(file_name(record.folder.name, record.settings.label))


def _judged(record: RunRecord, mysql_url: str) -> JudgedRun:
    missing = []
    fits = bytes_that_fit(psutil.virtual_memory().available)
    for url in dict.fromkeys((mysql_url, "")):
        try:
            judged = judge_saved_run(record.folder, mysql_url=url, bytes_max=fits, keep=True)
        except (OSError, ValueError) as error:
            missing.append(_unjudged(reason_of(error)))
            if not isinstance(error, DatabaseUnreadable):
                break
        else:
            return replace(judged, findings=[*judged.findings, *missing])
    return JudgedRun(findings=missing)


def _unjudged(reason: str) -> Finding:
    return Finding(
        invariant="evidence",
        title="what the verdict rests on could be read",
        verdict=Verdict.UNKNOWN,
        looked_at="nothing",
        explanations=(reason,),
    )


def _write(result: LoadResult, path: Path) -> Path:
    """Write a result and its page; where the result is."""
    path = keep_result(result, path)
    try:
        # Read back, so that the page is made of what the file holds and nothing else.
        page = html_report(read_result_as(path, LoadResult))
        write_whole(path.with_suffix(".html"), page.encode())
    except OSError as error:
        log.error("there is no report: %s: %s", path.with_suffix(".html"), error.strerror)
    return path


def file_name(run_id: str, label: str) -> str:
    """The name of a run's result file; of its label, the part that any file system takes."""
    words = re.sub(r"[^\w.-]+", "-", label)[:LABEL_CHARACTERS].strip("-.")
    return f"{run_id}-{words}.json" if words else f"{run_id}.json"


def document_of(record: RunRecord, judgement: Judgement) -> LoadResult:
    """The result document."""
    start, end = record.window
    names = sorted(record.series.names()[0])
    seconds = list(_seconds(record))
    return LoadResult(
        run_id=record.run_id,
        label=record.settings.label,
        started_unix_s=record.started_unix_s,
        machine=Machine(**record.machine),
        target=record.base_url,
        capabilities=record.capabilities,
        settings=record.settings.to_json(),
        window=Window(start=start - record.begin_second, end=end - record.begin_second),
        verdict=LoadVerdict(
            valid=judgement.valid,
            correct=judgement.correct,
            correctness=judgement.correctness,
            within_slo=judgement.within_slo,
            good=judgement.good,
            invalid=list(judgement.invalid),
            incorrect=judgement.incorrect,
            limits=[
                LimitResult(
                    limit=result.limit.text,
                    figure=result.limit.figure,
                    measured=result.measured,
                    passed=result.passed,
                )
                for result in judgement.limits
            ],
        ),
        counts={name: record.counter(name) for name in names},
        totals={name: record.series.total(name) for name in names},
        figures=dict(judgement.figures),
        findings=list(judgement.findings),
        final_seq=record.final_seq,
        converged=record.converged,
        members=record.members,
        listener_cost=listener_cost(
            record.members,
            cpu_us=record.counter("cpu_us"),
            reads=record.counter("reads"),
        ),
        backlog=record.backlog,
        resources=_resources(record),
        faults=[*restarts_of(record.samples), *collapses_of(seconds)],
        seconds=seconds,
        histograms={
            name: record.histogram(name).to_hdr()
            for name in DURATION_NAMES
            if record.histogram(name).total
        },
        ceiling=record.ceiling,
    )


def _resources(record: RunRecord) -> Resources:
    start, end = (second - record.begin_second for second in record.window)
    usage = usage_of(
        (s for s in record.samples if start <= s["t"] < end),
        int(record.machine.get("cpus") or 1),
        float(record.machine.get("memory_mib") or 0),
    )
    samples = msgspec.convert(record.samples, list[Sample])
    if usage is None:
        return Resources(samples=samples, bottleneck=name_bottleneck(None))
    return Resources(
        samples=samples,
        cores=dict(usage.cores),
        rss_mib=dict(usage.rss_mib),
        counters=dict(usage.counters),
        busy=usage.busy,
        elsewhere=usage.elsewhere,
        harness_share=usage.harness_share,
        bottleneck=name_bottleneck(usage),
    )


def _seconds(record: RunRecord) -> Iterator[Second]:
    for number, second in sorted(record.series.seconds.items()):
        yield Second(
            t=number - record.begin_second,
            span_s=second.span_s,
            counters=dict(second.counters),
            times={
                name: {"n": histogram.total, **_percentiles(histogram)}
                for name in sorted(second.names())
                if (histogram := second.histogram(name)).total
            },
            heat={
                name: _coarse(second.histogram(name))
                for name in HEAT_HISTOGRAMS
                if name in second.names()
            },
        )


def _percentiles(histogram: Histogram) -> dict[str, int]:
    """Those that have enough samples, in µs."""
    found = ((percentile.key, histogram.at(percentile.quantile)) for percentile in PERCENTILES)
    return {key: at_us for key, at_us in found if at_us is not None}


def _coarse(histogram: Histogram) -> dict[int, int]:
    """Counts by the buckets of the heat maps."""
    counts: Counter[int] = Counter()
    for bucket, count in histogram.counts.items():
        counts[heat_bucket(lowest_of(bucket))] += count
    return dict(counts)


def restarts_of(samples: Iterable[Mapping[str, Any]]) -> list[Fault]:
    """a process of the stack has another pid than a sample before.

    In seconds of the run, from the last sample in which the old one lived to the
    first of the new one.
    """
    faults = []
    alive: dict[str, tuple[int, int]] = {}
    for sample in samples:
        for name, values in sample.get("processes", {}).items():
            # A process that has died keeps its pid in the books until another is started.
            if "pid" not in values or not values["rss_mib"]:
                continue
            pid, seen = alive.get(name, (values["pid"], sample["t"]))
            if pid != values["pid"]:
                faults.append(Fault(name=f"{name} restarted", start=seen, end=sample["t"]))
            alive[name] = (values["pid"], sample["t"])
    return faults
