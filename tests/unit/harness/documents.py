"""Small made-up result documents, as the commands leave them in the results folder.

The load run is one of version 1, as are those kept from earlier runs.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from harness.measure.figures import PERCENTILES
from harness.measure.histogram import Histogram
from harness.report.document import Document
from harness.report.result_files import decode_result

Kind = TypeVar("Kind", bound=Document)

MACHINE = {"cpus": 2, "cpu": "a CPU", "memory_mib": 8192, "commit": "abc123", "python": "3.11"}


def decoded(kind: type[Kind], document: Mapping[str, Any]) -> Kind:
    """The document as its readers get it."""
    result = decode_result(json.dumps(document).encode())
    assert isinstance(result, kind)
    return result


def run_document(*, run_id: str = "r1", response_us: int = 5000, **changes: Any) -> dict[str, Any]:
    """A load run of sixty seconds whose every answer took about as long."""
    histogram = Histogram()
    histogram.record(response_us, 1000)
    quantiles = tuple(percentile.key for percentile in PERCENTILES)
    names = ("response", "service", "lag")
    return {
        "kind": "scoreboard-run",
        "version": 1,
        "run_id": run_id,
        "label": "",
        "started_unix_s": 100.0,
        "machine": MACHINE,
        "target": "http://127.0.0.1:1",
        "settings": {"rate": "1000", "warmup_s": 1.0, "results": "results", "slo": ""},
        "window": {"start": 1, "end": 61},
        "verdict": {
            "valid": True,
            "correct": True,
            "within_slo": True,
            "good": True,
            "invalid": [],
            "incorrect": [],
            "limits": [],
        },
        "counts": {"intended": 60_000, "ok": 60_000, "deliveries": 1_200_000},
        "figures": {
            "goodput": 1000.0,
            "rate": 1000.0,
            **{f"{name}_{q}": response_us for name in names for q in quantiles},
        },
        "findings": [{"witness": "MySQL ledger", "problems": [], "counts": {"acknowledged": 5}}],
        "members": [
            {"kind": "listeners", "host": "secret-host", "pid": 77, "status": {"listeners": 1000}}
        ],
        "listener_cost": {"us_per_read": 7.25, "kib_per_listener": 0.5},
        "resources": {
            "samples": [],
            "cores": {"server": 0.5},
            "harness_share": 0.25,
            "elsewhere": 0.0,
            "bottleneck": "no resource is full",
        },
        "seconds": [
            {
                "t": t,
                "intended": 1000,
                "ok": 1000,
                "times": {
                    name: {"n": 1000, **dict.fromkeys(quantiles, response_us + 10 * t)}
                    for name in names
                },
                "heat": {},
            }
            for t in range(61)
        ],
        "histograms": {name: histogram.to_hdr() for name in names},
        **changes,
    }


def capacity_document() -> dict[str, Any]:
    """A search that found a border."""
    return {
        "kind": "scoreboard-capacity",
        "version": 1,
        "started_unix_s": 100.0,
        "machine": MACHINE,
        "plan": {"slo": "p99<500ms", "seconds": 10.0, "repeats": 3},
        "searches": [
            {
                "over": "rate",
                "fixed": 1000,
                "load": 3141,
                "bounded": True,
                "bottleneck": "the machine's 2 CPUs",
            }
        ],
        "trials": [
            {"rate": rate, "listeners": 1000, "held": held, "response_p99": 9000}
            for rate, held in ((2000, True), (4000, False))
        ],
        "scalability": {"refused": "too few points"},
    }


def selfproof_document() -> dict[str, Any]:
    """Every planted fault reported, and the stall beside stock Locust."""
    report = {"requests": 500, "p50_ms": 1.0, "p90_ms": 2.0, "p99_ms": 1900.0, "max_ms": 2000.0}
    return {
        "kind": "scoreboard-selfproof",
        "version": 1,
        "started_unix_s": 100.0,
        "machine": MACHINE,
        "good": True,
        "proofs": [{"planted": "3 lost events", "reported": "3 missing", "exact": True}],
        "stall": {
            "planted": "2 s without an answer",
            "intended": 5000,
            "reports": [{"tool": "this harness", **report}],
        },
    }


def bench_proof_document() -> dict[str, Any]:
    """What `bench-compare --prove` leaves."""
    return {
        "kind": "scoreboard-bench-proof",
        "version": 1,
        "started_unix_s": 100.0,
        "machine": MACHINE,
        "good": True,
        "trials": 200,
        "cases": 19,
        "rounds": 10,
        "planted": 0.15,
        "false_alarm_rate": 0.0005,
        "miss_rate": 0.01,
        "real": {
            name: {"comparisons": 3, "decisions": 12, "wrong": 1, "rate": 1 / 12}
            for name in ("equal", "slower", "one_more_call")
        },
    }


def chaos_document(**changes: Any) -> dict[str, Any]:
    """What a chaos run leaves."""
    return {
        "kind": "scoreboard-chaos",
        "version": 1,
        "seed": 7,
        "short": False,
        "commit": "abc123",
        "started_unix_s": 1_764_000_000,
        "machine": {"cpus": 2, "python": "3.11"},
        "good": True,
        "verdict": "true",
        "verdict_black_box": "true",
        "load_s": 612.3,
        "accepted": 123456,
        "refused": 5,
        "unknown": 6,
        "attempts": 130000,
        "attempts_unknown": 900,
        "attacks": 10,
        "listeners": 200,
        "reconnects": 900,
        "changes": 123450,
        "resets": 3,
        "reads": 40,
        "findings": [
            {
                "invariant": "I1 exactly once",
                "title": "once",
                "verdict": "true",
                "looked_at": "rows",
                "explanations": [],
            }
        ],
        "findings_black_box": [],
        "faults": [
            {
                "number": number,
                "kind": "kill -9",
                "target": target,
                "at_s": 2.0 * number,
                "held_s": 1.0,
                "fired": fired,
                "recovery_ms": recovery_ms,
            }
            for number, target, fired, recovery_ms in (
                (1, "redis", "pid 1", 120.0),
                (2, "mysql", None, None),
            )
        ],
        "seconds_seen": [
            {"t": t, "ok": 300, "unknown": t % 2, "times": {"answer": {"p50": 9000, "max": 40_000}}}
            for t in range(10)
        ],
        **changes,
    }
