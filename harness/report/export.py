"""A load run's result in the forms that other tools read. Pure: a document in, text out.

`json`: verdict, figures, limits and errors, without the seconds. `junit`: each question, limit and
invariant as a test case. `csv`, `csv-seconds`: figures, and one row per second. `prometheus`: text
format for a textfile collector. `benchmark-action`, `benchmark-action-bigger`: the lists of
github-action-benchmark (customSmallerIsBetter and customBiggerIsBetter).
"""

import csv
import io
import json
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.measure.figures import OUTCOMES, PERCENTILES, RATES, SHARES
from harness.report.document import LoadResult
from harness.report.run_view import correctness, duration_rows, error_rows, slo_rows, within_slo

VERDICTS = ("true", "false", "unknown", "not asked")
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True)
class Check:
    """Something a run was judged by: `group` is verdict, slo or invariant."""

    group: str
    name: str
    verdict: str
    text: str


def checks(document: LoadResult) -> list[Check]:
    """Everything the run was judged by."""
    verdict = document.verdict
    valid = "true" if verdict.valid else "false"
    return [
        Check(group="verdict", name="valid", verdict=valid, text="\n".join(verdict.invalid)),
        Check(
            group="verdict",
            name="correct",
            verdict=correctness(document),
            text="\n".join(verdict.incorrect),
        ),
        *(
            Check(group="slo", name=row.text, verdict=row.verdict, text=row.words)
            for row in slo_rows(document)
        ),
        *(
            Check(
                group="invariant",
                name=f"{found.invariant}: {found.title}" if found.title else found.invariant,
                verdict=str(found.verdict),
                text="\n".join(found.explanations) or found.looked_at,
            )
            for found in document.findings
        ),
    ]


def to_json(document: LoadResult) -> str:
    """One object. Durations in µs, shares 0 to 1, rates per second; None is not enough samples."""
    rows = slo_rows(document)
    value = {
        "version": document.version,
        "run_id": document.run_id,
        "label": document.label,
        "target": document.target,
        "started": _utc(document.started_unix_s),
        "commit": document.machine.revision,
        "settings": document.settings,
        "seconds_measured": document.seconds_measured,
        "good": document.verdict.good,
        "valid": document.verdict.valid,
        "correct": correctness(document),
        "within_slo": within_slo(rows) if rows else None,
        "invalid": document.verdict.invalid,
        "incorrect": document.verdict.incorrect,
        "slo": [
            {
                "limit": row.text,
                "verdict": row.verdict,
                "measured": row.value,
                "samples": row.samples,
            }
            for row in rows
        ],
        "figures": document.figures,
        "samples": {row.figure.name: row.samples for row in duration_rows(document)},
        "counts": document.counts,
        "errors": [
            {"kind": row.what, "cause": row.cause, "count": row.count, "share": row.share}
            for row in error_rows(document)
        ],
        "bottleneck": document.resources.bottleneck,
    }
    return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def to_junit(document: LoadResult) -> str:
    """A suite with a case for each check; unknown is an error, so that it fails as false does.

    What was not asked of the server is a skipped case.
    """
    found = checks(document)
    failures = sum(check.verdict == "false" for check in found)
    errors = sum(check.verdict == "unknown" for check in found)
    skipped = sum(check.verdict == "not asked" for check in found)
    totals = {
        "tests": str(len(found)),
        "failures": str(failures),
        "errors": str(errors),
        "time": f"{document.seconds_measured:.3f}",
    }
    root = ET.Element("testsuites", {"name": "scoreboard load", **totals})
    suite = ET.SubElement(
        root,
        "testsuite",
        {
            "name": _xml(document.label or document.run_id),
            **totals,
            "skipped": str(skipped),
            "timestamp": _utc(document.started_unix_s).removesuffix("Z"),
        },
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("run_id", document.run_id),
        ("target", document.target),
        ("commit", document.machine.revision),
        *((name, _plain(value)) for name, value in document.settings.items()),
    ):
        ET.SubElement(properties, "property", {"name": name, "value": _xml(value)})
    for check in found:
        case = ET.SubElement(
            suite,
            "testcase",
            {"classname": f"load.{check.group}", "name": _xml(check.name), "time": "0"},
        )
        if check.verdict == "true":
            if check.text:
                ET.SubElement(case, "system-out").text = _xml(check.text)
            continue
        tag = {"false": "failure", "not asked": "skipped"}.get(check.verdict, "error")
        first = check.text.partition("\n")[0]
        problem = ET.SubElement(case, tag, {"message": _xml(first), "type": check.verdict})
        problem.text = _xml(check.text)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def to_csv(document: LoadResult) -> str:
    """Rows of name, statistic, value, unit, samples. No value: not enough samples."""
    rows: list[Sequence[Any]] = [("name", "statistic", "value", "unit", "samples")]
    for row in duration_rows(document):
        for percentile, value in zip(PERCENTILES, row.values, strict=True):
            rows.append((row.figure.name, percentile.label, value, "us", row.samples))
        mean_us = document.figures.get(f"{row.figure.name}_mean")
        rows.append((row.figure.name, "mean", mean_us, "us", row.samples))
    intended = document.counts.get("intended", 0)
    for names, unit in ((SHARES, "share"), (RATES, "per second")):
        rows += [(name, "", document.figures.get(name), unit, intended) for name in names]
    return _csv(rows)


def to_seconds_csv(document: LoadResult) -> str:
    """A row for each second: every counter, every percentile in µs. Of a long run the first hours
    have a row for each span, and a last column with its seconds."""
    counters = sorted({name for second in document.seconds for name in second.counters})
    times = sorted(
        {(n, key) for s in document.seconds for n, found in s.times.items() for key in found}
    )
    window = document.window
    spans = any(second.span_s > 1 for second in document.seconds)
    rows: list[Sequence[Any]] = [
        (
            *("second", "measured", *counters, *(f"{name}_{key}" for name, key in times)),
            *(("seconds",) if spans else ()),
        )
    ]
    rows += [
        (
            second.t,
            int(window.start <= second.t < window.end),
            *(second.counters.get(name, 0) for name in counters),
            *(second.times.get(name, {}).get(key) for name, key in times),
            *((second.span_s,) if spans else ()),
        )
        for second in document.seconds
    ]
    return _csv(rows)


def to_prometheus(document: LoadResult) -> str:
    """Gauges and summaries of the run in Prometheus' text format."""
    return "\n".join(_metrics(document)) + "\n"


def _metrics(document: LoadResult) -> Iterator[str]:
    yield from _metric(
        "info",
        "The run that the other values are of.",
        [
            (
                {
                    "run_id": document.run_id,
                    "label": document.label,
                    "target": document.target,
                    "commit": document.machine.revision,
                },
                1,
            )
        ],
    )
    yield from _metric(
        "started_timestamp_seconds", "When the schedule began.", [({}, document.started_unix_s)]
    )
    yield from _metric(
        "measured_seconds", "Length of the measured window.", [({}, document.seconds_measured)]
    )
    yield from _metric(
        "verdict",
        "1 for the verdict that the run has on each question, limit and invariant.",
        [
            (
                {"group": check.group, "check": check.name, "verdict": verdict},
                int(check.verdict == verdict),
            )
            for check in checks(document)
            for verdict in VERDICTS
        ],
    )
    yield from _metric(
        "submissions",
        "Submissions intended in the measured window, by outcome.",
        [
            ({"outcome": outcome}, document.counts.get(name, 0))
            for name, outcome in OUTCOMES.items()
        ],
    )
    yield from _metric(
        "errors",
        "Submissions not accepted and streams ended, by cause.",
        [({"kind": row.what, "cause": row.cause}, row.count) for row in error_rows(document)],
    )
    yield from _metric("listeners", "Event streams held open.", [({}, document.listeners)])
    for name, meaning in {**RATES, **SHARES}.items():
        unit = "per_second" if name in RATES else "ratio"
        value = document.figures.get(name)
        if value is not None:
            yield from _metric(f"{name}_{unit}", meaning.capitalize() + ".", [({}, value)])
    for row in duration_rows(document):
        name, seconds = f"scoreboard_load_{row.figure.name}_seconds", row.samples
        yield f"# HELP {name} {_escaped(row.figure.meaning.capitalize())}."
        yield f"# TYPE {name} summary"
        for percentile, value in zip(PERCENTILES, row.values, strict=True):
            if value is not None:
                yield f'{name}{{quantile="{percentile.quantile:g}"}} {value / 1e6:.6f}'
        mean_us = document.figures.get(f"{row.figure.name}_mean") or 0
        yield f"{name}_sum {mean_us * seconds / 1e6:.6f}"
        yield f"{name}_count {seconds}"


def _metric(
    name: str, meaning: str, values: Sequence[tuple[Mapping[str, str], float]]
) -> Iterator[str]:
    full = f"scoreboard_load_{name}"
    yield f"# HELP {full} {_escaped(meaning)}"
    yield f"# TYPE {full} gauge"
    for labels, value in values:
        inner = ",".join(f'{key}="{_escaped(text, quote=True)}"' for key, text in labels.items())
        yield f"{full}{f'{{{inner}}}' if inner else ''} {float(value):.15g}"


def _escaped(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quote else text


def to_benchmark_action(document: LoadResult) -> str:
    """Durations in ms and failed shares in %: smaller is better."""
    entries = [
        _entry(f"{row.figure.label} {percentile.label}", value / 1000, "ms", row.samples)
        for row in duration_rows(document, headlines=True)
        for percentile, value in zip(PERCENTILES, row.values, strict=True)
        if value is not None
    ]
    intended = document.counts.get("intended", 0)
    for name in SHARES:
        share = document.figures.get(name)
        if share is not None:
            entries.append(_entry(name, 100 * share, "%", intended))
    return _entries(entries)


def to_benchmark_action_bigger(document: LoadResult) -> str:
    """Rates: bigger is better."""
    entries = []
    if document.counts.get("intended"):
        for name in ("goodput", "throughput"):
            rate = document.figures.get(name) or 0.0
            entries.append(_entry(name, rate, "1/s", document.counts["intended"]))
    if document.listeners:
        delivered = document.counts.get("deliveries", 0)
        rate = delivered / document.seconds_measured
        entries.append(_entry("events delivered", rate, "1/s", delivered))
    return _entries(entries)


def _entry(name: str, value: float, unit: str, samples: int) -> dict[str, Any]:
    return {"name": name, "unit": unit, "value": round(value, 6), "extra": f"{samples:,} samples"}


def _entries(entries: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(entries, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _utc(unix_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _xml(text: str) -> str:
    """The text without characters that no XML document may hold."""
    return _NOT_XML.sub("\ufffd", text)


FORMATS: Mapping[str, Callable[[LoadResult], str]] = {
    "json": to_json,
    "junit": to_junit,
    "csv": to_csv,
    "csv-seconds": to_seconds_csv,
    "prometheus": to_prometheus,
    "benchmark-action": to_benchmark_action,
    "benchmark-action-bigger": to_benchmark_action_bigger,
}
