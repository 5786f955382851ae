"""The page of a load run shows three-valued verdicts, every limit, errors by cause, and words."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import pytest

from harness.measure.figures import DURATIONS, PERCENTILES
from harness.report.charts import plots_of
from harness.report.document import LoadResult
from harness.report.load_page import html_report
from tests.unit.harness.documents import decoded, run_document

LIMITS = [
    {"limit": "p99<250ms", "measured": 5000, "kept": True},
    {"limit": "lag_p99.9<1ms", "measured": 5000, "kept": False},
    {"limit": "p99.99<1s", "measured": None, "kept": False},
    {"limit": "errors<0.1%", "measured": 0.0, "kept": True},
]


class Page(HTMLParser):
    """Collects the cells of each table, and what a reader of the page could stumble over."""

    VOID = frozenset({"meta", "rect", "path", "line", "circle"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.classes: dict[str, str] = {}
        self.open: list[str] = []
        self.unnamed: list[str] = []
        self._region = ""
        self._class = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if values.get("role") == "region":
            self._region = values.get("aria-label") or ""
            if values.get("tabindex") != "0" or not self._region:
                self.unnamed.append("a scrollable region")
        if tag == "tr":
            self.tables.setdefault(self._region, []).append([])
        if tag in ("th", "td"):
            self.tables[self._region][-1].append("")
            self._class = values.get("class") or ""
        if tag == "svg" and not values.get("aria-label"):
            self.unnamed.append("a chart")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[self._region][-1][-1] += data
            self.classes[data] = self._class

    def rows(self, table: str) -> dict[str, list[str]]:
        return {row[0]: row[1:] for row in self.tables[table][1:]}


def page(**changes: Any) -> tuple[str, Page]:
    html = html_report(decoded(LoadResult, run_document(**changes)))
    return html, Page(html)


def verdict(**changes: Any) -> dict[str, Any]:
    return {**run_document()["verdict"], **changes}


def test_page_is_well_formed_and_loads_nothing() -> None:
    html, read = page(label="<b>mine</b> & yours")

    assert html.startswith("<!doctype html>")
    assert read.open == []
    assert "&lt;b&gt;mine&lt;/b&gt; &amp; yours" in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "").replace(
        "http://127.0.0.1:1", ""
    )
    assert not re.search(r"<(link|img|iframe)|@import|url\(", html)


def test_page_has_no_empty_header_and_every_scrollable_region_takes_focus() -> None:
    _, read = page(verdict=verdict(limits=LIMITS))

    heads = [head for table in read.tables.values() for head in table[0]]
    assert heads
    assert all(heads)
    assert read.unnamed == []


def test_limit_is_shown_with_verdict_value_and_samples() -> None:
    html, read = page(verdict=verdict(limits=LIMITS, within_slo=False))

    assert read.rows("limits") == {
        "p99<250ms": ["✓ holds", "5 ms", "60,000"],
        "lag_p99.9<1ms": ["✗ broken", "5 ms", "60,000"],
        "p99.99<1s": ["? not enough samples", "needs 100,000 samples", "60,000"],
        "errors<0.1%": ["✓ holds", "0.0000%", "60,000"],
    }
    assert read.classes["? not enough samples"] == "unknown"
    assert "✗ not within SLO" in html
    assert "p99.99&lt;1s: not enough samples: 60,000 of 100,000" in html


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (LIMITS[:1], "✓ within SLO"),
        ([LIMITS[0], LIMITS[2]], "? unknown whether within SLO"),
        ([LIMITS[1], LIMITS[2]], "✗ not within SLO"),
    ],
)
def test_slo_has_three_verdicts(limits: list[dict[str, Any]], words: str) -> None:
    html, _ = page(verdict=verdict(limits=limits, within_slo=len(limits) == 1))

    assert words in html


def test_page_without_limits_says_how_to_give_some() -> None:
    html, _ = page()

    assert "No SLO was given" in html


@pytest.mark.parametrize(
    ("found", "words"),
    [("true", "✓ correct"), ("unknown", "? unknown whether correct"), ("false", "✗ not correct")],
)
def test_correctness_has_three_verdicts(found: str, words: str) -> None:
    invariant = {
        "invariant": "I2 ledger",
        "title": "each row once",
        "verdict": found,
        "explanations": [] if found == "true" else ["nothing changed"],
        "looked_at": "5 rows",
    }
    correct = found == "true"
    html, read = page(
        verdict=verdict(correct=correct, incorrect=[] if correct else ["I2 ledger"]),
        invariants=[invariant],
    )

    assert words in html
    sign = {"true": "✓ holds", "unknown": "? unknown", "false": "✗ violated"}[found]
    assert read.rows("correctness")["I2 ledger"][:2] == [sign, "each row once"]


def test_errors_are_broken_down_by_status_and_cause() -> None:
    counts = {"intended": 1000, "ok": 900, "status_202": 900, "status_429": 40, "status_503": 30}
    counts |= {"cause_timeout": 20, "dropped": 10}
    members = [{"kind": "listeners", "status": {"listeners": 5, "disconnects": {"status_503": 4}}}]

    _, read = page(counts=counts, members=members)

    assert read.tables["errors"][1:] == [
        ["submission refused", "40", "4.000%", "HTTP 429 Too Many Requests"],
        ["submission unknown", "30", "3.000%", "HTTP 503 Service Unavailable"],
        ["submission unknown", "20", "2.000%", "no answer within the timeout"],
        ["submission dropped", "10", "1.000%", "never sent: no connection free"],
        ["stream ended", "4", "", "HTTP 503 Service Unavailable"],
    ]


def test_durations_have_every_percentile_and_their_samples() -> None:
    _, read = page()

    head = read.tables["durations"][0]
    assert head == ["duration", *(p.label for p in PERCENTILES), "samples", "from … to"]
    assert read.rows("durations")["response"][-2] == "60,000"
    assert (
        set(read.rows("durations"))
        == {"response", "service", "lag"}
        <= {duration.label for duration in DURATIONS}
    )


def test_settings_and_machine_are_shown_with_units() -> None:
    machine = {"cpus": 2, "memory_mib": 8192, "changed": False}
    settings = {"rate": "1000", "warmup_s": 1.0, "stream_gzip": True, "slo": ""}

    _, read = page(machine=machine, settings=settings)

    assert read.rows("Machine") == {
        "CPUs": ["2"],
        "memory": ["8,192 MiB"],
        "uncommitted changes": ["no"],
    }
    assert read.rows("Settings") == {
        "arrival rate": ["1000 submissions/s"],
        "warm-up": ["1 s"],
        "listeners accept gzip": ["yes"],
    }


def test_each_second_of_a_chart_tells_its_values() -> None:
    plots = plots_of(decoded(LoadResult, run_document()))

    strips = [e for e in ET.fromstring(plots["response"]).iter() if e.get("class") == "strip"]
    assert len(strips) == 61
    told = [next(iter(strip)).text for strip in strips]
    assert told[20] == "20 s\nmax: 5.2 ms\np99.9: 5.2 ms\np99: 5.2 ms\np90: 5.2 ms\np50: 5.2 ms"
