"""A result goes to other tools in their own forms, with three-valued verdicts and whole files."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.__main__ import main
from harness.cli.export import parse_export
from harness.measure.figures import PERCENTILES
from harness.report.document import LoadResult
from harness.report.export import (
    FORMATS,
    to_benchmark_action,
    to_benchmark_action_bigger,
    to_csv,
    to_json,
    to_junit,
    to_prometheus,
    to_seconds_csv,
)
from tests.unit.harness.documents import decoded, run_document, selfproof_document

LIMITS = [
    {"limit": "p99<250ms", "measured": 5000, "kept": True},
    {"limit": "lag_p99.9<1ms", "measured": 5000, "kept": False},
    {"limit": "p99.99<1s", "measured": None, "kept": False},
]
FINDINGS = [
    {"invariant": "I1 exactly once", "title": "once", "verdict": "true", "looked_at": "5 rows"},
    {
        "invariant": "I5 streams",
        "title": "no gap",
        "verdict": "false",
        "explanations": ["listener 7 missed\x00 <3>", "more"],
        "violations": 2,
    },
]


def document(**changes: Any) -> dict[str, Any]:
    verdict = {
        **run_document()["verdict"],
        "within_slo": False,
        "correct": False,
        "good": False,
        "incorrect": ["I5 streams false: listener 7"],
        "limits": LIMITS,
    }
    figures = {**run_document()["figures"], "errors": 0.001, "response_mean": 5000.0}
    fields = {"verdict": verdict, "figures": figures, "invariants": FINDINGS, **changes}
    return run_document(**fields)


def result(**changes: Any) -> LoadResult:
    return decoded(LoadResult, document(**changes))


def test_json_has_verdicts_limits_and_figures_but_no_seconds() -> None:
    told = json.loads(to_json(result()))

    assert (told["valid"], told["correct"], told["within_slo"]) == (True, "false", "false")
    assert told["slo"][2] == {
        "limit": "p99.99<1s",
        "verdict": "unknown",
        "measured": None,
        "samples": 60_000,
    }
    assert told["figures"]["response_p99"] == 5000
    assert told["samples"]["response"] == 60_000
    assert "seconds" not in told


def test_junit_counts_a_violation_as_failure_and_an_unknown_as_error() -> None:
    root = ET.fromstring(to_junit(result(label="mine")))

    [suite] = root.iter("testsuite")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert suite.get("name") == "mine"
    for element in (root, suite):
        assert int(element.get("tests", "")) == len(cases) == len(list(suite.iter("testcase")))
        assert int(element.get("failures", "")) == len(list(suite.iter("failure"))) == 3
        assert int(element.get("errors", "")) == len(list(suite.iter("error"))) == 1
    assert not list(cases["p99<250ms"].iter("failure"))
    [unknown] = cases["p99.99<1s"].iter("error")
    assert unknown.get("message") == "not enough samples: 60,000 of 100,000"
    [violated] = cases["I5 streams: no gap"].iter("failure")
    assert violated.get("message") == "listener 7 missed\ufffd <3>"
    assert cases["valid"].get("classname") == "load.verdict"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))


def test_junit_of_a_good_run_has_no_failure() -> None:
    good = decoded(LoadResult, run_document())

    root = ET.fromstring(to_junit(good))

    assert (root.get("failures"), root.get("errors")) == ("0", "0")


def test_csv_has_each_percentile_with_its_samples() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(result()))))

    response = [row for row in rows if row["name"] == "response"]
    assert [row["statistic"] for row in response] == [*(p.label for p in PERCENTILES), "mean"]
    assert {(float(row["value"]), row["unit"], row["samples"]) for row in response} == {
        (5000.0, "us", "60000")
    }
    assert {"errors", "goodput"} <= {row["name"] for row in rows}


def test_csv_of_seconds_marks_the_measured_ones() -> None:
    rows = list(csv.DictReader(io.StringIO(to_seconds_csv(result()))))

    assert [row["second"] for row in rows] == [str(t) for t in range(61)]
    assert [row["measured"] for row in rows] == ["0"] + ["1"] * 60
    assert rows[20]["ok"] == "1000"
    assert rows[20]["response_p99"] == "5200"


def test_prometheus_text_is_read_by_its_own_parser() -> None:
    text = to_prometheus(result(label='a "label"\nwith \\ signs'))

    families = {family.name: family for family in text_string_to_metric_families(text)}
    response = families["scoreboard_load_response_seconds"]
    verdicts = {
        (sample.labels["check"], sample.labels["verdict"]): sample.value
        for sample in families["scoreboard_load_verdict"].samples
    }
    assert response.type == "summary"
    values = {(s.name, s.labels.get("quantile")): s.value for s in response.samples}
    assert values["scoreboard_load_response_seconds", "0.99"] == pytest.approx(0.005)
    assert values["scoreboard_load_response_seconds_count", None] == 60_000
    assert values["scoreboard_load_response_seconds_sum", None] == pytest.approx(300)
    assert verdicts["p99.99<1s", "unknown"] == verdicts["correct", "false"] == 1
    assert verdicts["p99.99<1s", "false"] == verdicts["valid", "unknown"] == 0
    [info] = families["scoreboard_load_info"].samples
    assert info.labels["label"] == 'a "label"\nwith \\ signs'


def test_benchmark_export_has_the_fields_the_action_requires() -> None:
    smaller = json.loads(to_benchmark_action(result()))
    bigger = json.loads(to_benchmark_action_bigger(result()))

    for entry in smaller + bigger:
        assert set(entry) == {"name", "unit", "value", "extra"}
        assert isinstance(entry["value"], int | float)
    values = {entry["name"]: (entry["value"], entry["unit"]) for entry in smaller}
    assert values["response p99"] == (5.0, "ms")
    assert values["errors"] == (0.1, "%")
    assert [entry["name"] for entry in bigger] == ["goodput", "throughput", "events delivered"]
    assert len(values) == len(smaller), "names are unique"


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_made_of_a_run_without_submissions_or_listeners(form: str) -> None:
    empty = result(counts={}, figures={"goodput": 0.0}, members=[], seconds=[])

    assert FORMATS[form](empty).endswith("\n")


def test_command_writes_to_stdout_or_a_whole_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = tmp_path / "run.json", tmp_path / "reports" / "load.xml"
    path.write_text(json.dumps(document()))

    assert main(["export", str(path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == "r1"
    assert main(["export", str(path), "--format", "junit", "--output", str(target)]) == 0
    assert ET.parse(target).getroot().tag == "testsuites"
    assert list(target.parent.iterdir()) == [target]


def test_export_refuses_documents_other_than_load_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, missing = tmp_path / "selfproof.json", tmp_path / "none.json"
    other.write_text(json.dumps(selfproof_document()))

    for path, told in ((other, "not a scoreboard-run"), (missing, "No such file")):
        assert main(["export", str(path), "--format", "csv"]) == 2
        assert told in capsys.readouterr().err


def test_export_option_names_a_form_and_a_file() -> None:
    assert parse_export("junit:load.xml") == ("junit", Path("load.xml"))
    assert parse_export("json:-") == parse_export("json") == ("json", None)
    with pytest.raises(ValueError, match="'xml' is not a format; there are json, junit"):
        parse_export("xml:load.xml")
