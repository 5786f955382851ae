"""Two servers under one load: turns, medians, dashes, and a page of both."""

from typing import Any

from harness.report.document import LoadResult
from harness.report.result_files import decode_result, encode_result
from harness.report.side_by_side import html_page, lines, side_by_side
from harness.sessions.side_by_side import order
from tests.unit.harness.documents import decoded
from tests.unit.harness.test_results_document import load_run


def run(p99: float | None, *, cores: dict[str, float] | None = None, **verdict: Any) -> LoadResult:
    document = load_run()
    document["figures"]["response_p99"] = p99
    document["figures"]["goodput"] = 100.0
    document["resources"]["cores"] = cores or {}
    document["verdict"] = {**document["verdict"], **verdict}
    return decoded(LoadResult, document)


def test_sides_take_turns_and_the_order_changes_every_round() -> None:
    assert order(2, 3) == [0, 1, 1, 0, 0, 1]
    assert order(3, 1) == [0, 1, 2]


def test_figures_are_medians_with_range_and_dashes_for_unmeasured() -> None:
    document = side_by_side(["go", "node"], [[run(1e3), run(3e3), run(9e3)], [run(None)]])

    [figure] = [f for f in document.figures if f.name == "response p99"]
    assert (figure.median, figure.least, figure.most) == ([3e3, None], [1e3, None], [9e3, None])
    [line] = [line for line in lines(document) if "response p99" in line]
    assert "3 ms (1 ms–9 ms)" in line
    assert line.endswith("–")


def test_cpu_is_the_servers_and_per_submission() -> None:
    cores = {"server under test": 0.5, "harness submitters": 0.9}
    document = side_by_side(["go", "node"], [[run(1e3, cores=cores)], [run(1e3)]])
    found = {figure.name: figure.median for figure in document.figures}

    assert found["server CPU, cores"] == [0.5, None]
    assert found["server CPU per submission"] == [5000.0, None]


def test_one_bad_run_decides_a_sides_verdict() -> None:
    bad = run(1e3, correct=False, correctness="false", incorrect=["I1 false: lost"])
    document = side_by_side(["go", "node"], [[run(1e3), bad], [run(1e3)]])

    [line] = [line for line in lines(document) if line.strip().startswith("correct")]
    assert line.split() == ["correct", "no", "yes"]
    assert document.sides[0].reasons == ["I1 false: lost"]


def test_the_document_is_a_result_file_and_the_page_names_both() -> None:
    runs = [[run(1e3)], [run(2e3)]]
    document = side_by_side(["go <1>", "node"], runs)
    page = html_page(document, runs)

    assert decode_result(encode_result(document)) == document
    assert page.startswith("<!doctype html>")
    assert "go &lt;1&gt; beside node" in page
    assert "response p99" in page
