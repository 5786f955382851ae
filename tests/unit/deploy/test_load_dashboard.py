"""The Grafana dashboard of load runs asks only for what the export writes, and for all of it."""

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from harness.measure.figures import DURATION_NAMES, PERCENTILES, RATES, SHARES
from harness.measure.histogram import Histogram
from harness.report.document import LoadResult
from harness.report.export import to_prometheus
from tests.unit.harness.documents import decoded, run_document

DASHBOARD = Path(__file__).parents[3] / "deploy/grafana/load-runs.json"
NAME = re.compile(r"\bscoreboard_[a-z0-9_]+")
LABEL = re.compile(r'(\w+)=~?"')
SUFFIX = re.compile(r"_(?:count|sum)$")
SCRAPED = {"instance"}
"""Labels that Prometheus adds."""


def exported() -> dict[str, set[str]]:
    """Every family that a run with all figures has, with the labels of its samples."""
    samples = Histogram()
    for _ in range(100_000):
        samples.record(5000)
    figures: dict[str, Any] = dict.fromkeys((*RATES, *SHARES), 0.5)
    for name in DURATION_NAMES:
        figures |= {f"{name}_{percentile.key}": 5000 for percentile in PERCENTILES}
        figures[f"{name}_mean"] = 5000.0
    document = run_document(
        figures={**run_document()["figures"], **figures},
        histograms=dict.fromkeys(DURATION_NAMES, samples.to_hdr()),
        totals={**run_document()["counts"], "fail": 3, "status_503": 3},
        counts={**run_document()["counts"], "fail": 3, "status_503": 3},
    )
    families = text_string_to_metric_families(to_prometheus(decoded(LoadResult, document)))
    return {
        family.name: {label for sample in family.samples for label in sample.labels}
        for family in families
    }


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def queries() -> list[str]:
    document = dashboard()
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]
    return [
        *(target["expr"] for panel in panels for target in panel["targets"]),
        *(v["definition"] for v in document["templating"]["list"] if "definition" in v),
        *(annotation["expr"] for annotation in document["annotations"]["list"]),
    ]


def named() -> set[str]:
    return {SUFFIX.sub("", name) for query in queries() for name in NAME.findall(query)}


def test_every_metric_that_the_dashboard_names_is_exported() -> None:
    assert named() - set(exported()) == set()


def test_every_exported_metric_is_on_the_dashboard() -> None:
    assert set(exported()) - named() == set()
    assert len(named()) > 15


def test_queries_filter_only_by_labels_that_exist() -> None:
    known = SCRAPED.union(*exported().values())

    for query in queries():
        assert set(LABEL.findall(query)) <= known, query


def test_data_source_is_the_readers_choice() -> None:
    document = dashboard()

    assert document["templating"]["list"][0]["type"] == "datasource"
    sources = re.findall(r'"uid": "([^"]*)"', DASHBOARD.read_text())
    assert set(sources) == {"${datasource}", document["uid"]}


def test_panels_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
