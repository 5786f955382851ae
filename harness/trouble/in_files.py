"""Troubles of what is read back: result files, saved histories, and benchmarks of two revisions."""

import os
import re
import subprocess
from pathlib import Path

from harness.engines.standalone import null_server
from harness.trouble.cases import CannotPlant, trouble
from harness.trouble.stage import ROOT, Stage
from harness.trouble.verdicts import Said

NO_DOCUMENT = "is no result document"
BENCHMARKS = """
from types import SimpleNamespace

def work():
    return sum(range(1000))

def check(found):
    assert found == 499500

CASES = [
    SimpleNamespace(name=name, size=1, prepare=lambda size: (work, check))
    for name in ("first", "second")
]
"""


def _kept_result() -> bytes:
    """A good result, as this project keeps one."""
    path = Path(ROOT, "docs", "results", "load.json")
    if not path.exists():
        raise CannotPlant("there is no docs/results/load.json, as a checkout has it")
    return path.read_bytes()


def _compared(stage: Stage, before: bytes, after: bytes) -> Said:
    for name, content in (("before.json", before), ("after.json", after)):
        (stage.folder / name).write_bytes(content)
    return stage.harness("compare", "before.json", "after.json").ended()


@trouble("compare: two runs with the same figures", exit=0, says="none worse")
def same_figures(stage: Stage) -> Said:
    good = _kept_result()
    return _compared(stage, good, re.sub(rb'"run_id":"', b'"run_id":"other-', good, count=1))


@trouble("compare: a run with itself", exit=3, says="both files hold the same run")
def same_results(stage: Stage) -> Said:
    good = _kept_result()
    return _compared(stage, good, good)


@trouble("compare: a torn result file", exit=2, says=NO_DOCUMENT)
def torn_result(stage: Stage) -> Said:
    good = _kept_result()
    return _compared(stage, good, good[: len(good) // 2])


@trouble("compare: an empty result file", exit=2, says=NO_DOCUMENT)
def empty_result(stage: Stage) -> Said:
    return _compared(stage, _kept_result(), b"")


@trouble("compare: NaN in a result", exit=2, says=NO_DOCUMENT)
def nan_in_result(stage: Stage) -> Said:
    good = _kept_result()
    planted = good.replace(b'"figures":{', b'"figures":{"response_p42":NaN,', 1)
    return _compared(stage, good, planted)


@trouble("compare: a file of another program", exit=2, says=NO_DOCUMENT)
def foreign_result(stage: Stage) -> Said:
    return _compared(stage, _kept_result(), b'{"metrics":{"http_reqs":{"count":1}}}')


@trouble("compare: a result of a newer version", exit=2, says="use the newer one that wrote it")
def newer_result(stage: Stage) -> Said:
    good = _kept_result()
    return _compared(stage, good, re.sub(rb'"version":\d+', b'"version":99', good, count=1))


@trouble("compare: no measured second in common", exit=3, says="nothing in common to compare")
def no_overlap(stage: Stage) -> Said:
    good = _kept_result()
    start, end = good.index(b'"seconds":['), good.index(b'"histograms":')
    return _compared(stage, good, good[:start] + b'"seconds":[],' + good[end:])


@trouble("results: a folder with a torn file alone", exit=3, says="none of them a good and whole")
def only_torn_results(stage: Stage) -> Said:
    (stage.folder / "results").mkdir()
    (stage.folder / "results" / "torn.json").write_bytes(_kept_result()[:5000])
    return stage.harness("results", "--output", "page.md", "--kept", "kept").ended()


@trouble("export: a torn result file", exit=2, says=NO_DOCUMENT)
def torn_export(stage: Stage) -> Said:
    (stage.folder / "torn.json").write_bytes(_kept_result()[:5000])
    return stage.harness("export", "torn.json", "--format", "junit").ended()


@trouble("check: a history that breaks off", exit=3, says="breaks off: its writer died")
def torn_history(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        run = stage.load(url, "--duration", "1")
        run.ended()
    for path in run.results.glob("*/history-submitters-0.jsonl"):
        os.truncate(path, path.stat().st_size // 2)
        return stage.harness("check", str(path.parent)).ended()
    return Said(exit=-1, text="error: the run left no history")


@trouble("check: a folder without a history", exit=3, says="holds no history")
def no_history(stage: Stage) -> Said:
    (stage.folder / "empty").mkdir()
    return stage.harness("check", "empty").ended()


def _bench_compared(stage: Stage, head: str) -> Said:
    """Two benchmarks at the base, and what `head` makes of them."""
    core = stage.folder / "benchmarks" / "core.py"
    core.parent.mkdir()
    (core.parent / "__init__.py").touch()
    core.write_text(BENCHMARKS, "utf-8")
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "benchmarks"), (*who, "commit", "-qm", "base")):
        subprocess.run(["git", *words], cwd=stage.folder, check=True, capture_output=True)
    core.write_text(BENCHMARKS + head, "utf-8")
    return stage.harness("bench-compare", "--rounds", "2", "--no-instructions").ended()


@trouble(
    "bench-compare: a benchmark module that does not import",
    exit=3,
    says="ImportError: planted",
    shows_traceback=True,
)
def no_import(stage: Stage) -> Said:
    return _bench_compared(stage, "\nraise ImportError('planted')\n")


@trouble("bench-compare: a case that head lost", exit=3, says="this tree has lost second")
def lost_case(stage: Stage) -> Said:
    return _bench_compared(stage, "\nCASES = CASES[:1]\n")


@trouble("bench-compare: no case in common", exit=3, says="could not tell")
def no_common_case(stage: Stage) -> Said:
    return _bench_compared(stage, "\nfor case in CASES:\n    case.name += '_new'\n")
